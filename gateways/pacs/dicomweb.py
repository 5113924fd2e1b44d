"""A PACS over DICOMweb: STOW-RS and QIDO-RS (PS3.18, 10.5 and 10.6)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import requests
from dicomweb_client import DICOMwebClient

from gateways.dicom.status import one_line
from gateways.pacs import stow
from gateways.pacs.peer import Answer, Commitment, Instance, StudyPatient
from gateways.pacs.querying import only_patient
from gateways.tls import TlsSettings
from schemas.failures import Refused, Unavailable

# It quotes what a server writes into a Warning header, and that may be a name.
logging.getLogger("dicomweb_client").setLevel(logging.ERROR)

_T = TypeVar("_T")
_PATIENT: Final = {
    "patient_id": "00100020",
    "issuer": "00100021",
    "name": "00100010",
    "birth_date": "00100030",
    "sex": "00100040",
}
_STUDY_UID: Final = "0020000D"
_SOP_UID: Final = "00080018"
_PASSING: Final = (401, 403, 408, 425, 429)
"""And every 5xx. A PACS that does not let us in will once it is set right: results wait for that."""
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_NO_SUCH_SERVICE: Final = (405, 501)
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_NO_STUDY: Final = "2.25.0"
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


class Dicomweb:
    """Implements :class:`gateways.pacs.peer.Pacs`. DICOMweb has no storage commitment: proof is a query here."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        tls: TlsSettings | None = None,
        credentials: tuple[str, str] | None = None,
        repeat_error_text: bool = False,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # Neither a proxy nor certificates nor passwords are taken from the environment of the process.
        self._session.trust_env = False
        self._session.auth = credentials
        if tls is not None:
            self._session.verify = str(tls.ca)
            if tls.certificate is not None:
                self._session.cert = (str(tls.certificate), str(tls.key or tls.certificate))
        self._repeat_text = repeat_error_text
        self._client = DICOMwebClient(self._url, self._session, permissive_uid=True, timeout=timeout_s)
        # Whoever calls tries again in its own time.
        self._client.set_http_retry_params(retry=False)

    def store(self, study_uid: str, instances: Sequence[Instance]) -> list[Answer]:
        """STOW-RS to the study's resource, all in one request, or one by one where that is too large."""
        content_type, body = stow.message(instances)
        response = self._asked(
            lambda: self._session.post(
                f"{self._url}/studies/{quote(study_uid, safe='')}",
                data=body,
                headers={"Content-Type": content_type, "Accept": "application/dicom+json"},
                timeout=self._timeout_s,
                # Followed, a redirected POST becomes a GET, whose success says nothing.
                allow_redirects=False,
            )
        )
        if response.status_code == _TOO_LARGE and len(instances) > 1:
            return [answer for instance in instances for answer in self.store(study_uid, [instance])]
        self._raise_unless_about_objects(response)
        return stow.answers(response, instances)

    def patient_of(self, study_uid: str) -> StudyPatient | None:
        """QIDO-RS at the study level (PS3.18, 10.6.1.2)."""
        return only_patient(
            {
                StudyPatient(**{name: _value(study, tag) for name, tag in _PATIENT.items()})
                for study in self._studies(study_uid)
                if _value(study, _STUDY_UID) == study_uid
            }
        )

    def holds(self, study_uid: str, instances: Sequence[Instance]) -> set[str]:
        """QIDO-RS at the instance level, for each series."""
        there = set()
        for series_uid in dict.fromkeys(instance.series_uid for instance in instances):
            there |= {_value(found, _SOP_UID) for found in self._instances(study_uid, series_uid)}
        return {instance.sop_instance_uid for instance in instances} & there

    def request_commitment(self, transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        """Always raises :class:`schemas.failures.Refused`."""
        raise Refused(f"there is no storage commitment over DICOMweb: {self._url}")

    def reach(self) -> None:
        """A QIDO-RS search that finds nothing.

        Raises :class:`schemas.failures.Unavailable` and :class:`schemas.failures.Refused`.
        """
        self._studies(_NO_STUDY)

    def close(self) -> None:
        """Close the connections that are kept open; the next request opens another."""
        self._session.close()

    def _studies(self, study_uid: str) -> list[Mapping[str, Any]]:
        filters = {"StudyInstanceUID": study_uid}
        return self._searched(
            lambda: self._client.search_for_studies(fields=list(_PATIENT.values()), search_filters=filters)
        )

    def _instances(self, study_uid: str, series_uid: str) -> list[Mapping[str, Any]]:
        try:
            return self._searched(
                lambda: self._client.search_for_instances(quote(study_uid, safe=""), quote(series_uid, safe=""))
            )
        except _NotFound:
            # No such study, or no such service: a search that cannot miss tells them apart.
            self._studies(study_uid)
            return []

    def _searched(self, search: Callable[[], Any]) -> list[Mapping[str, Any]]:
        try:
            found = self._asked(search)
        except requests.HTTPError as error:
            self._raise_passing(error.response)
            kind = _NotFound if error.response.status_code == _NOT_FOUND else Refused
            raise kind(f"the PACS answers no such query: {self._in_words(error.response)}: {self._url}") from None
        except ValueError:
            raise Refused(f"the PACS answers a query with something else than DICOM JSON: {self._url}") from None
        return [item for item in found if isinstance(item, Mapping)]

    def _asked(self, request: Callable[[], _T]) -> _T:
        try:
            return request()
        except (requests.HTTPError, requests.exceptions.JSONDecodeError):
            raise
        except requests.exceptions.SSLError as error:
            raise Unavailable(f"the PACS is away: no TLS with {self._url}: {_tls_words(error)}") from None
        except requests.Timeout:
            raise Unavailable(f"the PACS is silent: no answer within {self._timeout_s:g} s from {self._url}") from None
        except requests.RequestException as error:
            why = "nothing answers at" if isinstance(error, requests.ConnectionError) else "no request can be made to"
            raise Unavailable(f"the PACS is away: {why} {self._url}") from None
        except OSError as error:  # what requests says of TLS files that are not there
            raise Unavailable(f"the PACS cannot be asked: {error}") from None

    def _raise_unless_about_objects(self, response: requests.Response) -> None:
        """Raise what an answer to STOW-RS says of the PACS and not of the objects."""
        if response.status_code == _NOT_FOUND:
            raise Unavailable(f"the PACS takes no objects there: {self._in_words(response)}: {self._url}")
        self._raise_passing(response)
        if response.is_redirect or response.status_code in _NO_SUCH_SERVICE:
            raise Refused(f"the PACS takes no objects there: {self._in_words(response)}: {self._url}")

    def _raise_passing(self, response: requests.Response) -> None:
        code = response.status_code
        if code in _PASSING or (code >= 500 and code not in _NO_SUCH_SERVICE):
            raise Unavailable(f"the PACS cannot answer now: {self._in_words(response)}: {self._url}")

    def _in_words(self, response: requests.Response) -> str:
        """A status with its meaning; the server's own reason phrase, which may quote a patient, where it is wanted."""
        if self._repeat_text:
            return f"HTTP {response.status_code} {one_line(response.reason or '', 64)}".rstrip()
        return f"HTTP {response.status_code} {_PHRASES.get(response.status_code, '')}".rstrip()


class _NotFound(Refused):
    """HTTP 404 to a search."""


def _tls_words(error: BaseException) -> str:
    """The reason at the bottom of urllib3's nest of errors."""
    text = str(error)
    for start in ("certificate verify failed: ", "[SSL: "):
        with suppress(ValueError):
            return one_line(text[text.index(start) + len(start) :].split(" (_ssl.c")[0].rstrip("]"), 100)
    return "the handshake failed"


def _value(item: Mapping[str, Any], tag: str) -> str | None:
    """The first value of an attribute in the DICOM JSON Model (PS3.18, F.2); None where there is none."""
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        value = item[tag]["Value"][0]
        if isinstance(value, Mapping):
            value = "=".join(str(value.get(group) or "") for group in _NAME_GROUPS).rstrip("=")
        return str(value).strip("\0 ") or None if value is not None else None
    return None
