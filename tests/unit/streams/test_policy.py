import pytest
from pydantic import ValidationError

from schemas.codes import Code
from schemas.events import Finding, Priority
from streams.policy import AlertPolicy, Rule, judge
from tests.unit.streams.examples import POLICY, finding


@pytest.mark.parametrize(
    ("findings", "priority"),
    [
        ([finding(20)], Priority.STAT),
        ([finding(5)], Priority.STAT),
        ([finding(4.9)], Priority.URGENT),
        ([finding(3), finding(3)], Priority.STAT),
        ([finding(3), finding(3, series_uid="2.25.11")], Priority.URGENT),
        ([finding(20, probability=0.4)], Priority.ROUTINE),
        ([finding(0.1)], Priority.ROUTINE),
        ([], Priority.ROUTINE),
    ],
)
def test_the_most_urgent_rule_that_holds_decides(findings: list[Finding], priority: Priority) -> None:
    assert judge(POLICY, tuple(findings)).priority is priority


def test_the_order_of_rules_does_not_matter() -> None:
    reverse = AlertPolicy(rules=tuple(reversed(POLICY.rules)))
    assert judge(reverse, (finding(20),)) == judge(POLICY, (finding(20),))


def test_the_reason_names_the_finding_its_volume_and_the_rule() -> None:
    reason = judge(POLICY, (finding(20),)).reason
    assert reason == "Intracranial hemorrhage, 20.0 ml (rule: from 5 ml and probability 0.5)"


def test_without_rules_everything_is_routine() -> None:
    assert judge(AlertPolicy(), (finding(200),)).priority is Priority.ROUTINE


@pytest.mark.parametrize("wrong", [{"finding": "bleed"}, {"min_probability": 2}, {"min_volume_ml": -1}])
def test_impossible_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rule(**{"finding": "SCT:1386000", "priority": "stat", **wrong})


IVH = Code(scheme="99SINSOK", value="IVH", meaning="Intraventricular hemorrhage")
BLOOD = ["SCT:1386000", "99SINSOK:IVH"]


def test_the_volumes_of_several_kinds_of_finding_add_up() -> None:
    together = AlertPolicy(rules=(Rule(finding=BLOOD, min_volume_ml=2, priority="stat"),))
    verdict = judge(together, (finding(1.2), finding(0.9, code=IVH)))
    assert verdict.priority is Priority.STAT
    assert verdict.reason.startswith("Intracranial hemorrhage and Intraventricular hemorrhage, 2.1 ml ")
    assert judge(together, (finding(1.2), finding(0.7, code=IVH))).priority is Priority.ROUTINE
    assert judge(together, (finding(1.2), finding(0.9, probability=0.4, code=IVH))).priority is Priority.ROUTINE
    assert judge(together, (finding(1.2), finding(0.9, series_uid="2.25.11", code=IVH))).priority is Priority.ROUTINE


@pytest.mark.parametrize(
    ("limits", "volume_ml", "priority"),
    [
        (None, 2, Priority.STAT),
        ("wait", 200, Priority.ROUTINE),
        ({"min_volume_ml": 10}, 9, Priority.ROUTINE),
        ({"min_volume_ml": 10}, 10, Priority.STAT),
        ({"min_probability": 0.95}, 200, Priority.ROUTINE),
    ],
)
def test_an_unconfirmed_finding_has_limits_of_its_own(limits: object, volume_ml: float, priority: Priority) -> None:
    policy = AlertPolicy(rules=(Rule(finding="SCT:1386000", min_volume_ml=2, priority="stat", unconfirmed=limits),))
    found = (finding(volume_ml),)
    assert judge(policy, found, unconfirmed=True).priority is priority
    assert judge(policy, found).priority is Priority.STAT


@pytest.mark.parametrize("wrong", [{"finding": []}, {"finding": ["bleed"]}, {"unconfirmed": "later"}])
def test_rules_for_nothing_and_unknown_words_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rule(**{"finding": "SCT:1386000", "priority": "stat", **wrong})
