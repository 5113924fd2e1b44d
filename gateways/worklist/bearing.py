"""What a result means for a worklist: whether it raises a priority, takes one back, or is the last word.

Two priorities are told apart: the one that stands in the worklist (``told``), which may be what a physician ordered or
what must not fall, and the one of the result that it was last told (``before``), which is what the AI said.

A worklist hears of nothing routine that was never raised. Where it was raised, only a final, confirmed result of a
model that looked again lowers it: a reading that failed, or that has yet to be confirmed, takes nothing back.
"""

from schemas.events import Outcome, Priority, StudyTriaged


def raises(result: StudyTriaged) -> bool:
    """Somebody should look at this study before routine ones."""
    return result.outcome is Outcome.FINDINGS and result.priority is not Priority.ROUTINE


def is_last_word(result: StudyTriaged) -> bool:
    """No more images and no second reading are expected."""
    return result.final and not result.unconfirmed


def said(told: Priority | None, before: StudyTriaged | None) -> Priority | None:
    """The AI's own priority as the worklist last heard it; None where it heard nothing."""
    return told if before is None else before.priority


def takes_back(result: StudyTriaged, told: Priority | None, before: StudyTriaged | None) -> bool:
    """The study is less urgent than the worklist was told, for certain."""
    earlier = said(told, before)
    if earlier is None or result.priority.rank <= earlier.rank or not is_last_word(result):
        return False
    if result.outcome not in (Outcome.FINDINGS, Outcome.NO_FINDINGS):
        return False
    if before is None:
        return True
    read = {one.series_uid for one in result.series if one.reading is not None and one.reading.refused is None}
    return {finding.series_uid for finding in before.findings} <= read


def is_told(result: StudyTriaged, told: Priority | None, before: StudyTriaged | None, *, unconfirmed: bool) -> bool:
    """Whether a worklist hears of the result; ``unconfirmed``: also before the second reading."""
    if result.unconfirmed and not unconfirmed:
        return False
    if takes_back(result, told, before):
        return True
    earlier = said(told, before)
    return raises(result) and (earlier is None or result.priority.rank <= earlier.rank)


def moves(result: StudyTriaged, told: Priority | None, ordered: Priority = Priority.ROUTINE, *, lower: bool) -> bool:
    """Whether the priority itself changes with a result that :func:`is_told`."""
    return to_tell(result, told, ordered, lower=lower) is not (told or Priority.ROUTINE)


def to_tell(result: StudyTriaged, told: Priority | None, ordered: Priority, *, lower: bool) -> Priority:
    """The AI's priority, but never below what was ordered, nor below what was told where that may not fall."""
    candidates = [result.priority, ordered]
    if not lower and told is not None:
        candidates.append(told)
    return min(candidates, key=lambda priority: priority.rank)
