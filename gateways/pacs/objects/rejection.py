"""The rejection note that takes earlier objects out of use (IHE Radiology, Imaging Object Change Management)."""

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import KeyObjectSelectionDocumentStorage

from gateways.pacs.objects.concepts import DESCRIPTION, REJECTED, SOURCE, SUPERSEDED, TITLE_MODIFIER, coding_schemes
from gateways.pacs.objects.content import device_observer
from gateways.pacs.objects.revision import Revision, Written, evidence
from schemas.deliveries import ObjectKind

_CONTAINS, _MODIFIES = hd.sr.RelationshipTypeValues.CONTAINS, hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD


def rejection_of(revision: Revision) -> Written | None:
    """A Key Object Selection (PS3.3, A.35.4; PS3.16, TID 2010) of earlier segmentations and key images; None without.

    Titled (113001, DCM, "Rejected for Quality Reasons"): of the titles IOCM knows it is the one whose objects the PACS
    may keep, hidden, as a record of what people were shown. "Patient Safety Reasons" (113037) is for objects of the
    wrong patient or side, which nobody may ever see again; "Incorrect Modality Worklist Entry" (113038) and "Data
    Retention Policy Expired" (113039) are not true. The template wants that title modified by a reason; CID 7011 has
    reasons of image acquisition only and is extensible, so the reason is sinsok's own: superseded. Reports are not
    listed: the new one names the old as its predecessor.
    """
    replaced = revision.replaced(ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE)
    if not replaced or not revision.choice.rejections:
        return None
    words = revision.study.words
    content = [
        hd.sr.CodeContentItem(TITLE_MODIFIER, SUPERSEDED, relationship_type=_MODIFIES),
        *device_observer(revision),
        hd.sr.TextContentItem(
            DESCRIPTION,
            f"{words.rejected} {words.outcome(revision.result)}",
            relationship_type=_CONTAINS,
        ),
    ]
    for one in replaced:
        content.append(
            hd.sr.ImageContentItem(SOURCE, one.sop_class_uid, one.sop_instance_uid, relationship_type=_CONTAINS)
        )
    root = hd.sr.ContainerContentItem(REJECTED, template_id="2010")
    root.ContentSequence = Items(content)
    ds = Dataset()
    ds.update(root)
    ds.SOPClassUID = KeyObjectSelectionDocumentStorage
    ds.Modality = "KO"
    ds.ReferencedPerformedProcedureStepSequence = Items([])
    ds.CodingSchemeIdentificationSequence = coding_schemes()
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(
        revision.result.study_uid, [(one.series_uid, one.sop_class_uid, one.sop_instance_uid) for one in replaced]
    )
    return revision.finish(ds, ObjectKind.REJECTION, revision.names.of_result("rejection"))
