"""The order a study answers, as its images know it (IHE RAD TF-2, SWF: modalities copy it from their worklist)."""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from gateways.worklist.attributes import first, items, text
from schemas.events import Priority

_PRIORITIES = {"STAT": Priority.STAT, "HIGH": Priority.URGENT, "MEDIUM": Priority.ROUTINE}


@dataclass(frozen=True, repr=False)
class Order:
    """Identifiers and description of an order; empty where the images do not carry them."""

    accession_number: str
    placer_number: str
    filler_number: str
    requested_procedure_id: str
    scheduled_step_id: str
    procedure: tuple[str, str, str]
    """Code value, meaning and coding scheme; a meaning alone where there is no code."""
    modality: str
    priority: Priority
    """What was ordered (Requested Procedure Priority (0040,1003), which few images carry); routine where not said."""

    @property
    def is_known(self) -> bool:
        """Whether a worklist can tell which of its orders is meant."""
        return bool(self.accession_number or self.placer_number or self.filler_number)


def read_order(head: Dataset) -> Order:
    """What the head of an image says of its order (PS3.3, C.7.2.1 and C.7.3.1: Request Attributes Sequence)."""
    heads = [head, *items(head, "RequestAttributesSequence"), *items(head, "ReferencedRequestSequence")]
    return Order(
        accession_number=first(heads, "AccessionNumber"),
        placer_number=first(heads, "PlacerOrderNumberImagingServiceRequest"),
        filler_number=first(heads, "FillerOrderNumberImagingServiceRequest"),
        requested_procedure_id=first(heads, "RequestedProcedureID"),
        scheduled_step_id=first(heads, "ScheduledProcedureStepID"),
        procedure=_procedure(heads),
        modality=text(head, "Modality"),
        priority=_PRIORITIES.get(first(heads, "RequestedProcedurePriority").upper(), Priority.ROUTINE),
    )


def _procedure(heads: list[Dataset]) -> tuple[str, str, str]:
    for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
        for head in heads:
            for item in items(head, keyword):
                code = text(item, "CodeValue"), text(item, "CodeMeaning"), text(item, "CodingSchemeDesignator")
                if code[0]:
                    return code
    described = first(heads, "RequestedProcedureDescription", "StudyDescription", "Modality")
    return ("", described or "Imaging study", "")
