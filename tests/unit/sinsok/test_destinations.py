"""PACS and worklists, reached as the settings say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateways.pacs.dicomweb import Dicomweb
from gateways.pacs.settings import PacsSettings
from gateways.tls import TlsSettings
from gateways.worklist.settings import Hl7Settings, UpsSettings
from sinsok.destinations import pacs_of, worklists_of

WEB = {"delivery": "dicomweb", "dicomweb_url": "https://pacs.test/dicom-web"}


@pytest.mark.parametrize(("key", "shown"), [(Path("k.pem"), "k.pem"), (None, "c.pem")])
def test_tls_of_dicomweb_shows_a_certificate_of_ours(key: Path | None, shown: str) -> None:
    tls = TlsSettings(ca=Path("ca.pem"), certificate=Path("c.pem"), key=key)
    pacs = pacs_of(PacsSettings(**WEB, tls=tls))  # type: ignore[arg-type]
    assert isinstance(pacs, Dicomweb)
    assert (pacs._session.verify, pacs._session.cert) == ("ca.pem", ("c.pem", shown))
    pacs.close()


def test_another_name_in_the_certificate_is_refused_over_dicomweb() -> None:
    with pytest.raises(ValidationError, match=r"tls\.server_name is for DIMSE"):
        PacsSettings(**WEB, tls={"ca": "ca.pem", "server_name": "pacs.test"})  # type: ignore[arg-type]


def test_worklists_of_one_kind_are_numbered() -> None:
    hl7, ups = Hl7Settings(host="ris.test"), UpsSettings(url="http://pacs.test")
    assert list(worklists_of("suwon", (hl7, ups, hl7))) == [
        ("suwon/hl7", hl7),
        ("suwon/ups", ups),
        ("suwon/hl7-2", hl7),
    ]
