"""By which rules a replay decides: those that the steps name, those of another configuration, or with another model."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.failures import PortFailure
from schemas.steps import StepTaken
from sinsok.errors import UsageError
from sinsok.replay.answers import Answers, NotRecorded
from sinsok.replay.rerun import Hops
from sinsok.settings import load
from streams.hop import StatefulHop, StatelessHop
from streams.pipeline import pipeline
from streams.route import split
from streams.site import SiteRules, Sites


class Rules:
    """The hops as the pipeline has them, by the rules that are in force."""

    def __init__(self, store: FileStore, policy: Mapping[str, SiteRules] | None, model: str | None) -> None:
        self._store = store
        self._policy = policy
        self._model = model
        self._made: dict[tuple[str, str], Hops] = {}

    def hops(self, site: str, step: StepTaken | None, newest: ObjectRef | None, answers: Answers) -> Hops:
        """The hops by their names. Where no step says which rules, the newest that the study saw.

        Raises :class:`NotRecorded` where these are not kept.
        """
        named = step.rules if step is not None and step.rules is not None else newest
        of = "policy" if self._policy is not None else named.digest if named else ""
        made = self._made.get((site, of))
        if made is None:
            rules = self._rules(site, named)
            hops = pipeline(Sites({site: _with_model(rules, self._model) if self._model else rules}), answers)
            made = {hop.name: hop for hop in hops if isinstance(hop, StatefulHop | StatelessHop)}
            self._made[site, of] = made
        return made

    def _rules(self, site: str, named: ObjectRef | None) -> SiteRules:
        if self._policy is not None:
            return self._policy.get(site, SiteRules())
        if named is None:
            raise NotRecorded("no step says by which rules it was taken: give them with --policy")
        try:
            return SiteRules.model_validate_json(self._store.read(named))
        except (PortFailure, ValidationError) as error:
            why = str(error) if isinstance(error, PortFailure) else "another version wrote them"
            raise NotRecorded(f"the rules of then cannot be read ({why}): give them with --policy") from None


def policy_of(path: Path) -> dict[str, SiteRules]:
    """The rules of every site that a configuration file gives. Raises :class:`UsageError`."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; --policy takes a sinsok.toml")
    settings = load({"SINSOK_CONFIG": str(path)})
    return {site: settings.rules.of(site) for site in settings.sites}


def check_model(asked: str, rules: Mapping[str, SiteRules]) -> None:
    """Raise :class:`UsageError` unless a route asks some version of this ``NAME@VERSION``."""
    name, _, version = asked.partition("@")
    if not name or not version:
        raise UsageError(f"{asked!r} names no model version: write NAME@VERSION")
    models = {route.model for one in rules.values() for route in one.routes}
    models |= {split(route.confirm)[0] for one in rules.values() for route in one.routes if route.confirm}
    if name not in models:
        raise UsageError(f"no route asks a model {name}: there are {', '.join(sorted(models)) or 'none'}")


def _with_model(rules: SiteRules, asked: str) -> SiteRules:
    """The rules with another version of a model, wherever it reads or confirms."""
    name, version = split(asked)
    routes = []
    for route in rules.routes:
        changes = {"version": version} if route.model == name else {}
        if route.confirm and split(route.confirm)[0] == name:
            changes["confirm"] = asked
        routes.append(route.model_copy(update=changes))
    return rules.model_copy(update={"routes": tuple(routes)})
