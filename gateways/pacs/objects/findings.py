"""One finding as a measurement group of the report (DICOM PS3.16, TID 1411, or 1501 where no segment shows it).

What the groups of a report have in common is made once: in highdicom each item is slow to make.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from gateways.imaging.volume import SliceName
from gateways.pacs.objects import concepts
from gateways.pacs.objects.revision import MAKER, Revision
from gateways.pacs.objects.segmentation import Segments
from gateways.pacs.objects.sources import SourceSeries
from schemas.events import Finding, Provenance, Side

_CONTAINS: Final = hd.sr.RelationshipTypeValues.CONTAINS


class Group(NamedTuple):
    """A measurement group, and what it refers to: series, SOP class and SOP instance."""

    item: Dataset
    references: list[tuple[str, str, str]]


def finding_group(revision: Revision, finding: Finding, number: int, segments: Segments | None) -> Group:
    """What is known of a finding: kind, place, size, certainty, who says so, and the images that show it.

    Findings of one class in one series share a segment; each has its own centre, volume and slices.
    """
    series = revision.series_of(finding)
    segment = segments.number_of(finding) if segments else None
    assert series.reading is not None, "a finding comes from a reading"
    key = SliceName(finding.key_instance_uid, finding.key_frame)
    located = revision.label_map(series) is not None
    measurements = [_percent(concepts.CERTAINTY, finding.probability)]
    if located:
        measurements.insert(0, hd.sr.Measurement(concepts.VOLUME, finding.volume_ml, concepts.MILLILITRE))
    if finding.agreement is not None:
        measurements.append(_percent(concepts.AGREEMENT, finding.agreement))
    common: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=revision.names.of_result("finding", number), identifier=f"{finding.code.meaning} {number}"
        ),
        "finding_type": concepts.of_code(finding.code),
        "algorithm_id": _algorithm(series.reading.provenance),
        "finding_sites": _sites(finding.side) if finding.side else None,
        "measurements": measurements,
    }
    names = [key]
    references = []
    if segments and segment is not None:
        one = segments.written.object
        names = segments.slices[finding] or [key]
        item = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=hd.sr.ReferencedSegment(
                one.sop_class_uid,
                one.sop_instance_uid,
                segment,
                source_images=[_source(*_reference(series, name), name.frame) for name in names],
            ),
            **common,
        )[0]
        references.append((one.series_uid, one.sop_class_uid, one.sop_instance_uid))
    else:
        item = hd.sr.MeasurementsAndQualitativeEvaluations(
            source_images=[hd.sr.SourceImageForMeasurementGroup(*_reference(series, key), key.frame and [key.frame])],
            **common,
        )[0]
    item.ContentSequence.append(_key_slice(*_reference(series, key), key.frame))
    if located:
        item.ContentSequence.append(
            hd.sr.Scoord3DContentItem(
                concepts.CENTER,
                hd.sr.GraphicTypeValues3D.POINT,
                np.array([finding.centroid_mm]),
                revision.frame_of_reference(series),
                relationship_type=_CONTAINS,
            )
        )
    references += [(series.uid, *_reference(series, name)) for name in dict.fromkeys((*names, key))]
    return Group(item, references)


def midline_group(revision: Revision, finding: Finding, shift_mm: float) -> Group:
    """How far the midline is shifted in the series of a finding; it belongs to the head and to no lesion."""
    series = revision.series_of(finding)
    key = SliceName(finding.key_instance_uid, finding.key_frame)
    item = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=revision.names.of_result("midline", series.uid), identifier="Midline shift"
        ),
        algorithm_id=hd.sr.AlgorithmIdentification(name=f"{MAKER} midline shift", version="1"),
        finding_sites=[hd.sr.FindingSite(concepts.HEAD)],
        measurements=[hd.sr.Measurement(concepts.MIDLINE_SHIFT, shift_mm, concepts.MILLIMETRE)],
        source_images=[hd.sr.SourceImageForMeasurementGroup(*_reference(series, key), key.frame and [key.frame])],
    )[0]
    return Group(item, [(series.uid, *_reference(series, key))])


def _reference(series: SourceSeries, name: SliceName) -> tuple[str, str]:
    return series.instance(name.sop_uid).sop_class, name.sop_uid


@lru_cache(maxsize=1024)
def _source(sop_class: str, sop_uid: str, frame: int | None) -> Dataset:
    return hd.sr.SourceImageForSegmentation(sop_class, sop_uid, frame and [frame])


@lru_cache(maxsize=64)
def _key_slice(sop_class: str, sop_uid: str, frame: int | None) -> Dataset:
    return hd.sr.ImageContentItem(
        concepts.KEY_SLICE,
        sop_class,
        sop_uid,
        referenced_frame_numbers=frame and [frame],
        relationship_type=_CONTAINS,
    )


@lru_cache(maxsize=16)
def _algorithm(source: Provenance) -> Any:
    """Which model speaks (TID 4019), down to the digest of what computed."""
    return hd.sr.AlgorithmIdentification(
        name=source.model, version=source.version, parameters=[f"digest={source.digest}"]
    )


def _percent(name: hd.sr.CodedConcept, share: float) -> Any:
    return hd.sr.Measurement(name, round(100 * share, 2), concepts.PERCENT)


@lru_cache(maxsize=len(Side))
def _sites(side: Side) -> list[Dataset]:
    """The side of the head."""
    if side is Side.MIDLINE:
        return [hd.sr.FindingSite(concepts.HEAD, topographical_modifier=concepts.MIDLINE)]
    return [hd.sr.FindingSite(concepts.HEAD, laterality=concepts.LATERALITY[side])]
