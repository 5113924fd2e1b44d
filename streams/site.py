"""What a site has decided: how long it waits, which models read what, and what makes an alert."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from schemas.base import Record
from streams.on_call import Paging
from streams.policy import AlertPolicy
from streams.route import Route

Seconds = Annotated[float, Field(gt=0, le=31 * 24 * 3600)]


class Completeness(Record):
    """How long to wait for images."""

    quiet_s: Seconds = Field(default=30.0, description="No image for this long makes a study final")
    quiet_by_modality_s: dict[str, Seconds] = Field(default_factory=dict)
    cap_s: Seconds = Field(default=900.0, description="From the first image of a revision to its end, at the most")
    keep_s: Seconds = Field(default=7 * 24 * 3600.0, description="How long a finished study is remembered")

    def quiet_for(self, modalities: Iterable[str | None]) -> float:
        """Seconds of quiet that a study with these modalities needs: the longest any of them asks for."""
        return max(self.quiet_by_modality_s.get(modality or "", self.quiet_s) for modality in modalities)


class SiteRules(Record):
    """The decisions of one site."""

    completeness: Completeness = Completeness()
    routes: tuple[Route, ...] = ()
    alerts: AlertPolicy = AlertPolicy()
    paging: Paging = Paging()


class Sites:
    """The rules of every site; a site that is not configured has none: it waits, routes nothing and alerts nobody."""

    def __init__(self, rules: Mapping[str, SiteRules]) -> None:
        self._rules = dict(rules)
        self._unknown = SiteRules()

    @property
    def names(self) -> tuple[str, ...]:
        """The sites, in alphabetical order."""
        return tuple(sorted(self._rules))

    def as_json(self) -> dict[str, str]:
        """The rules of each site as JSON: what :meth:`SiteRules.model_validate_json` reads."""
        return {site: rules.model_dump_json() for site, rules in sorted(self._rules.items())}

    def of(self, site: str) -> SiteRules:
        """The rules of a site."""
        return self._rules.get(site, self._unknown)
