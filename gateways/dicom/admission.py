"""Who may send: the called AE title decides the site, the site decides which calling AE titles it knows."""

from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatchcase

from gateways.dicom.settings import SiteAccess


class Rejection(Enum):
    """Why an association is refused: result, source and diagnostic of the A-ASSOCIATE-RJ (PS3.8, table 9-21)."""

    CALLED_AE_UNKNOWN = (1, 1, 7)
    CALLING_AE_UNKNOWN = (1, 1, 3)


class Admission:
    """The AE titles of all sites. Spaces around an AE title do not count (PS3.5, 6.2)."""

    def __init__(self, sites: Mapping[str, SiteAccess]) -> None:
        """Raises ``ValueError`` where two sites share a called AE title."""
        self._sites: dict[str, tuple[str, tuple[str, ...]]] = {}
        for site, access in sites.items():
            called = access.called_ae.strip()
            if called in self._sites:
                raise ValueError(f"called AE title {called} stands for {self._sites[called][0]} and for {site}")
            self._sites[called] = (site, tuple(pattern.strip() for pattern in access.calling_ae))

    def admit(self, called: str, calling: str) -> str | Rejection:
        """The site a sender belongs to, or why it is refused."""
        if called.strip() not in self._sites:
            return Rejection.CALLED_AE_UNKNOWN
        site, patterns = self._sites[called.strip()]
        known = any(fnmatchcase(calling.strip(), pattern) for pattern in patterns)
        return site if known else Rejection.CALLING_AE_UNKNOWN
