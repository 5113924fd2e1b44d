"""What makes a configuration that is right in every part wrong as a whole."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from gateways.inference.repository import configuration, models, versions
from schemas.failures import Unreadable
from schemas.models import ClassTable
from schemas.topics import all_topics
from sinsok.settings import Settings
from streams.policy import AlertPolicy


def contradictions(settings: Settings) -> list[str]:
    """Every contradiction in routes, alert rules, models, paging, archive and watch, one line each.

    A repository that is not on this machine contradicts nothing: then the model server has to be asked.
    """
    others = [*paging_contradictions(settings), *archive_contradictions(settings), *_watched(settings)]
    if not settings.model_repository.is_dir():
        return others
    return list(dict.fromkeys([*_routes(settings), *_rules(settings), *others]))


def paging_contradictions(settings: Settings) -> list[str]:
    """Those for which somebody would not be told: who tells people does not start with them.

    With the others it does. What is wrong with a route is no reason to tell nobody of alerts that there are.
    """
    return [*_recipients(settings), *_unasked(settings)]


def archive_contradictions(settings: Settings) -> list[str]:
    """Topics whose retention is set and that there are not: what was meant would be kept for another time."""
    known = {topic.name for topic in all_topics(settings.sites)}
    unknown = sorted(settings.archive.retention_days.keys() - known)
    return [f"archive.retention_days: there is no topic {name}" for name in unknown]


def paging_nobody(settings: Settings) -> list[str]:
    """The sites that raise alerts and page nobody, as they may: then the worklist and the console have to do."""
    return [
        site
        for site in settings.sites
        if _raises(settings.rules.of(site).alerts) and not settings.rules.of(site).paging.chains
    ]


def _raises(policy: AlertPolicy) -> bool:
    return any(rule.priority in policy.page for rule in policy.rules)


def _unasked(settings: Settings) -> Iterator[str]:
    for site in paging_nobody(settings):
        if recipients := settings.sites[site].recipients:
            yield (
                f"sites.{site}: no chain asks {', '.join(sorted(recipients))}: add [[sites.{site}.paging.chains]],"
                " or remove the recipients"
            )


def _watched(settings: Settings) -> Iterator[str]:
    named = {*settings.watch.sites, *(scanner.partition("/")[0] for scanner in settings.watch.scanners)}
    if absent := sorted(named - settings.sites.keys()):
        yield f"watch: there is no site {', '.join(absent)}: it would be silent for ever"


def _recipients(settings: Settings) -> Iterator[str]:
    for site, configured in settings.sites.items():
        for chain in settings.rules.of(site).paging.chains:
            named = {recipient for step in chain.steps for recipient in step}
            if absent := named - configured.recipients.keys():
                yield (
                    f"paging.chains: {chain.name} pages {', '.join(sorted(absent))}: add"
                    f" [sites.{site}.recipients.{min(absent)}], with channels"
                )


def _routes(settings: Settings) -> Iterator[str]:
    served = {model.name: versions(model) for model in models(settings.model_repository)}
    for site in settings.sites:
        for route in settings.rules.of(site).routes:
            for model, version in route.models:
                if model not in served:
                    there = ", ".join(served) or "no model"
                    yield f"routes: model {model} is not in {settings.model_repository}: it has {there}"
                elif version not in served[model]:
                    there = ", ".join(served[model]) or "none"
                    yield f"routes: model {model} has no version {version} in the repository, but {there}"


def _rules(settings: Settings) -> Iterator[str]:
    reported = {model.name: _findings(model) for model in models(settings.model_repository)}
    anywhere = frozenset[str]().union(*(findings for findings in reported.values() if findings is not None))
    sites: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for site in settings.sites:
        decided = settings.rules.of(site)
        routed = [reported.get(model) for route in decided.routes for model in route.readers]
        known = [findings for findings in routed if findings is not None]
        if len(known) < len(routed):
            continue  # what an unknown model reports is unknown too
        possible = frozenset[str]().union(*known)
        for rule in decided.alerts.rules:
            # A rule for several findings may serve sites of which each has models for some of them.
            for finding in rule.concepts if possible.isdisjoint(rule.concepts) else set(rule.concepts) - anywhere:
                sites[finding, possible].append(site)
    for (finding, possible), names in sites.items():
        there = ", ".join(sorted(possible)) or "nothing"
        yield f"alerts.rules: no model of {', '.join(names)} reports {finding}, they report {there}"


def _findings(model: Path) -> frozenset[str] | None:
    """The findings a model can report, as its class table says; None where it says nothing that can be read."""
    try:
        stated = configuration(model / "config.pbtxt").parameters["sinsok_classes"].string_value
        return frozenset(str(row.code) for row in ClassTable.validate_json(stated))
    except (Unreadable, ValidationError):
        return None
