import pytest

from gateways.dicom.admission import Admission, Rejection
from gateways.dicom.settings import SiteAccess

SITES = {
    "suwon": SiteAccess(called_ae="SUWON_AI"),
    "icheon": SiteAccess(called_ae="ICHEON_AI", calling_ae=("CT?", "PACS_*")),
}


@pytest.mark.parametrize(
    ("called", "calling", "answer"),
    [
        ("SUWON_AI", "ANYBODY", "suwon"),
        (" SUWON_AI ", "X", "suwon"),
        ("ICHEON_AI", "CT1 ", "icheon"),
        ("ICHEON_AI", "PACS_NORTH", "icheon"),
        ("ICHEON_AI", "CT10", Rejection.CALLING_AE_UNKNOWN),
        ("suwon_ai", "CT1", Rejection.CALLED_AE_UNKNOWN),
        ("", "CT1", Rejection.CALLED_AE_UNKNOWN),
    ],
)
def test_the_called_ae_decides_the_site_and_the_site_who_may_call(called, calling, answer):
    assert Admission(SITES).admit(called, calling) == answer


def test_two_sites_with_one_called_ae_are_refused():
    with pytest.raises(ValueError, match="SUWON_AI stands for suwon and for other"):
        Admission(SITES | {"other": SiteAccess(called_ae="SUWON_AI ")})
