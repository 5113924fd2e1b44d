"""The report: what AI saw, measured, and how far to trust it (DICOM PS3.16, TID 1500 in a Comprehensive 3D SR).

Comprehensive 3D (PS3.3, A.35.13), because only it can hold the place of a finding in patient coordinates.
"""

from collections.abc import Mapping
from typing import Final

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import Comprehensive3DSRStorage

from gateways.delivery.weight import takes_back
from gateways.pacs.objects import concepts
from gateways.pacs.objects.content import device_observer, text
from gateways.pacs.objects.findings import Group, finding_group, midline_group
from gateways.pacs.objects.revision import Revision, Written, evidence
from gateways.pacs.objects.segmentation import Segments
from gateways.pacs.objects.succession import IMAGES
from gateways.pacs.objects.words import ENGLISH
from schemas.deliveries import ObjectKind
from schemas.events import Outcome

_CONTAINS: Final = hd.sr.RelationshipTypeValues.CONTAINS


def report_of(revision: Revision, segments: Mapping[str, Segments]) -> Written | None:
    """The report of a result; None where the site wants none of its kind. ``segments`` are by series.

    Where there is an earlier report a new one is always written, and names it as its predecessor: what was taken back
    must not stand as the last word.
    """
    result, predecessors = revision.result, revision.replaced(ObjectKind.REPORT)
    wanted = {
        Outcome.FINDINGS: "report",
        Outcome.NO_FINDINGS: revision.choice.no_findings,
    }.get(result.outcome, revision.choice.not_analysed)
    if wanted == "nothing" and not revision.earlier:
        return None
    groups = _groups(revision, segments)
    root = hd.sr.ContainerContentItem(concepts.MEASUREMENT_REPORT, template_id="1500")
    root.ContentSequence = Items(
        [
            *_language(revision),
            *device_observer(revision),
            hd.sr.CodeContentItem(
                concepts.PROCEDURE_REPORTED,
                _procedure(revision),
                relationship_type=hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD,
            ),
        ]
    )
    if groups:
        measurements = hd.sr.ContainerContentItem(concepts.IMAGING_MEASUREMENTS, relationship_type=_CONTAINS)
        measurements.ContentSequence = Items([group.item for group in groups])
        root.ContentSequence.append(measurements)
    statements = hd.sr.ContainerContentItem(concepts.QUALITATIVE_EVALUATIONS, relationship_type=_CONTAINS)
    statements.ContentSequence = Items(_statements(revision))
    root.ContentSequence.append(statements)

    ds = Dataset()
    ds.update(root)
    ds.SOPClassUID = Comprehensive3DSRStorage
    ds.Modality = "SR"
    ds.ReferencedPerformedProcedureStepSequence = Items([])
    ds.PerformedProcedureCodeSequence = Items([])
    ds.CompletionFlag = "COMPLETE" if result.final else "PARTIAL"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "FINAL" if result.final and not result.unconfirmed else "PRELIMINARY"
    ds.CodingSchemeIdentificationSequence = concepts.coding_schemes()
    if references := [one for group in groups for one in group.references]:
        ds.CurrentRequestedProcedureEvidenceSequence = evidence(result.study_uid, references)
    if predecessors:
        ds.PredecessorDocumentsSequence = evidence(
            result.study_uid, [(one.series_uid, one.sop_class_uid, one.sop_instance_uid) for one in predecessors]
        )
    return revision.finish(ds, ObjectKind.REPORT, revision.names.of_result("report"))


def _groups(revision: Revision, segments: Mapping[str, Segments]) -> list[Group]:
    """A measurement group for each finding, and one for each series in which the midline was measured."""
    groups = [
        finding_group(revision, finding, number, segments.get(finding.series_uid))
        for number, finding in enumerate(revision.result.findings, start=1)
    ]
    for series in revision.series.values():
        if series.reading and series.reading.midline_shift_mm is not None:
            first = next((one for one in revision.result.findings if one.series_uid == series.uid), None)
            if first:
                groups.append(midline_group(revision, first, series.reading.midline_shift_mm))
    return groups


def _statements(revision: Revision) -> list[Dataset]:
    """What is said of the whole result: the outcome, what became of earlier findings, how sure it is, the notice."""
    result, words = revision.result, revision.study.words
    found = [text(concepts.CONCLUSION, words.outcome(result))]
    if revision.earlier and not result.findings:
        found.append(text(concepts.CONCLUSION, _of_earlier(revision)))
    found.append(text(concepts.STATUS, words.revision(result)))
    cautions = [one for decision in result.series if decision.reading for one in decision.reading.cautions]
    found.extend(text(concepts.CAUTION, caution) for caution in dict.fromkeys(cautions))
    notices = dict.fromkeys((words.notice, ENGLISH.notice))
    return [*found, *(text(concepts.NOTICE_CONCEPT, notice) for notice in notices)]


def _of_earlier(revision: Revision) -> str:
    """What becomes of earlier findings, where now there are none."""
    words = revision.study.words
    if not takes_back(revision.result):
        return words.standing
    # That there were any, images tell, or a site that wants no reports without.
    had_any = any(one.kind in IMAGES for one in revision.earlier)
    always = revision.choice.no_findings == revision.choice.not_analysed == "nothing"
    return words.withdrawn if had_any or always else words.withdrawn_if_any


def _language(revision: Revision) -> list[Dataset]:
    words = revision.study.words
    language: list[Dataset] = hd.sr.LanguageOfContentItemAndDescendants(
        hd.sr.CodedConcept(words.language, "RFC5646", words.language_name)
    )
    return language


def _procedure(revision: Revision) -> hd.sr.CodedConcept:
    """What was done, as the images code it, else a CT of whatever (CID 100)."""
    for item in revision.head.get("ProcedureCodeSequence") or []:
        parts = [str(item.get(one) or "") for one in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")]
        if all(part and part.isascii() for part in parts):
            return hd.sr.CodedConcept(*parts)
    return concepts.CT
