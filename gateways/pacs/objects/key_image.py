"""The key image as a Secondary Capture (DICOM PS3.3, A.8.1): every viewer shows it, also those without overlays."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import SecondaryCaptureImageStorage

from gateways.imaging.picture import Caption, KeySlice, card, draw, radiological
from gateways.imaging.pixels import hounsfield, stored_values
from gateways.imaging.volume import SliceName
from gateways.pacs.objects.concepts import SOURCE_IMAGE
from gateways.pacs.objects.fonts import hangul_font
from gateways.pacs.objects.revision import Revision, Written, slice_reference
from gateways.pacs.objects.sources import SourceSeries
from gateways.pacs.objects.words import ENGLISH, Words
from schemas.deliveries import ObjectKind
from schemas.events import Finding
from schemas.failures import Unreadable

SIDE: Final = 896
"""Longer edge of the slice, pixels: with its lines of text it stays near 1024."""


def key_image_of(revision: Revision) -> Written | None:
    """The leading finding on its key slice; the mark of a withdrawn one; None where there is and was neither.

    The leading finding is the first of the result: series in the order they were read, in each the largest first. The
    picture names no patient: the viewer does, from the data set.
    """
    words, font = _words(revision)
    findings, replaced = revision.result.findings, revision.replaced(ObjectKind.KEY_IMAGE)
    if findings:
        return _slice_image(revision, findings[0], words, font, bool(replaced))
    if not replaced:
        return None
    lines = (words.withdrawn_mark, words.revision(revision.result), words.warning)
    return _capture(revision, card(lines, font), Dataset(), words.withdrawn_mark, words)


def _words(revision: Revision) -> tuple[Words, str | None]:
    """What is burned in: the site's language where there is a font for it, else English."""
    words = revision.study.words
    if words.language == "en":
        return words, None
    font = hangul_font()
    return (words, font) if font else (ENGLISH, None)


def _slice_image(revision: Revision, finding: Finding, words: Words, font: str | None, replaces: bool) -> Written:
    series = revision.series_of(finding)
    assert series.reading is not None, "a finding comes from a reading"
    source = series.reading.provenance
    name = SliceName(finding.key_instance_uid, finding.key_frame)
    label_map = revision.label_map(series)
    on_planes = label_map is not None and name in label_map.planes
    found = f"{finding.volume_ml:.1f} mL" if label_map else words.locates_nothing
    lines = [
        f"{finding.code.meaning}, {found}, {finding.probability:.0%}",
        f"{source.model} {source.version}, {words.revision(revision.result)}",
    ]
    if replaces:
        lines.append(words.replaces(revision.result))
    marked = label_map.slice_labels(name) > 0 if label_map and on_planes else None
    seen = key_slice(series, name, marked)
    picture = draw(seen, Caption((words.warning,), tuple(lines), font), SIDE)
    ds = Dataset()
    reference = slice_reference(series, name)
    reference.PurposeOfReferenceCodeSequence = Items([SOURCE_IMAGE])
    ds.SourceImageSequence = Items([reference])
    ds.PatientOrientation = list(seen.orientation)
    head = series.head(name.sop_uid)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if head.get("LossyImageCompression") == "01" and head.get(keyword):
            setattr(ds, keyword, head.get(keyword))
    return _capture(revision, picture, ds, f"AI finding outlined by {source.model} {source.version}", words)


def key_slice(series: SourceSeries, name: SliceName, marked: NDArray[np.bool_] | None) -> KeySlice:
    """The slice's pixels in Hounsfield units, as they are to be seen."""
    frame = series.frame(name)
    if frame.orientation is None or frame.pixel_spacing is None:
        raise Unreadable("the key slice does not say how it lies")
    image = series.drawn
    try:
        plane = hounsfield(stored_values(image)[frame.index], frame, image)
    except Unreadable:
        raise
    except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
        raise Unreadable(f"the key slice cannot be decoded: {type(error).__name__}") from error
    if marked is None or marked.shape != plane.shape:
        marked = np.zeros(plane.shape, bool)
    between_rows, between_columns = frame.pixel_spacing
    across = np.array(frame.orientation[:3]) * between_columns
    down = np.array(frame.orientation[3:]) * between_rows
    return radiological(plane, marked, across, down)


def _capture(revision: Revision, picture: Image.Image, ds: Dataset, derivation: str, words: Words) -> Written:
    """General Image, SC Equipment, SC Image and Image Pixel modules (PS3.3, C.7.6.1, C.8.6 and C.7.6.3)."""
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.Modality = "OT"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    if revision.study.body_part:
        ds.BodyPartExamined = revision.study.body_part
    else:
        # Whether the body part is one of a pair is not known either (PS3.3, C.7.3.1).
        ds.Laterality = None
    if "PatientOrientation" not in ds:
        ds.PatientOrientation = None
    ds.DerivationDescription = derivation
    ds.ImageComments = words.notice
    ds.BurnedInAnnotation = "YES"
    ds.RecognizableVisualFeatures = "NO"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = picture.height, picture.width
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    # Pixels are square: the standard has Pixel Aspect Ratio for others only (PS3.3, C.7.6.3.1.7).
    pixels = picture.tobytes()
    ds.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
    return revision.finish(ds, ObjectKind.KEY_IMAGE, revision.names.of_result("key image"))
