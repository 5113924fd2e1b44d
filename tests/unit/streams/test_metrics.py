"""What is counted of the events a hop sends."""

from prometheus_client import REGISTRY

from schemas.events import Outcome
from streams.metrics import count
from tests.unit.streams.test_alert import decision, triaged


def refused(reason: str) -> float:
    labels = {"site": "suwon", "reason": reason}
    return REGISTRY.get_sample_value("sinsok_refused_series_total", labels) or 0.0


def test_a_series_is_refused_by_its_route_or_by_the_checks_of_its_volume() -> None:
    before = {reason: refused(reason) for reason in ("wrong body part", "no head in the field of view")}
    by_checks = decision()
    by_checks["reading"] = {**by_checks["reading"], "refused": "no head in the field of view: no skull"}
    by_route = decision("2.25.11", model=None, reading=None, reason="wrong body part: CHEST")
    series = (by_checks, by_route, decision("2.25.12"), decision("2.25.13", reading=None, reason="not read: broken"))
    count(triaged(1, volume_ml=0, outcome=Outcome.FAILED, series=series))
    assert {reason: refused(reason) - times for reason, times in before.items()} == dict.fromkeys(before, 1.0)
    assert refused("not read") == 0
