"""What a result does to those before it, at every destination: as with alerts, only a reading takes a finding back."""

from enum import IntEnum

from schemas.events import Outcome, StudyTriaged


class Weight(IntEnum):
    """How much a result says."""

    SILENT = 0
    """No model looked, or looked in vain: what was found before stands."""
    LOOKED = 1
    """A model looked and saw nothing, yet not for good. It counts over the first reading of the same images."""
    STANDS = 2
    """It has findings, or takes back those before it: nothing older need be delivered any more."""


def takes_back(result: StudyTriaged) -> bool:
    """Whether earlier findings are withdrawn: a model had the last word on the whole study, and saw nothing."""
    return result.outcome is Outcome.NO_FINDINGS and result.final and not result.unconfirmed


def weight_of(result: StudyTriaged) -> Weight:
    """The weight of a result."""
    if result.findings or takes_back(result):
        return Weight.STANDS
    return Weight.LOOKED if result.outcome in (Outcome.FINDINGS, Outcome.NO_FINDINGS) else Weight.SILENT
