"""The key image: one slice with the lesion outlined, for people to look at; never to diagnose from."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gateways.imaging.volume import Volume
from schemas.events import Provenance

CENTRE_HU: Final = 40
WIDTH_HU: Final = 80
"""The brain window."""
WARNING: Final = "AI output - not for diagnosis without a physician"
SIDE: Final = 1024
"""Length of the picture's longer edge, pixels."""
MARGIN: Final = 28
"""Height of a line of text above or below it."""
OUTLINE: Final = (255, 64, 64)
TEXT: Final = (255, 214, 102)
_OUTLINE_PIXELS: Final = 3
_TOWARDS: Final = ("L", "R"), ("P", "A"), ("H", "F")
"""Letters for the positive and the negative direction of x, y and z in patient coordinates (LPS)."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Caption:
    """Lines burned in above and below the slice, and the font file they need; None for the built-in one (Latin)."""

    above: tuple[str, ...]
    below: tuple[str, ...]
    font: str | None = None


@dataclass(frozen=True)
class KeySlice:
    """A slice as it is to be seen: the patient's right on the picture's left, anterior or the head's top upwards."""

    hounsfield: NDArray[np.int16]
    marked: NDArray[np.bool_]
    across: Vector
    """From one column to the next, patient coordinates (LPS, mm)."""
    down: Vector
    """From one row to the next."""

    @property
    def orientation(self) -> tuple[str, str]:
        """Patient Orientation (DICOM PS3.3, C.7.6.1.1.1): the letters of the rows' and the columns' direction."""
        return _letter(self.across), _letter(self.down)


def key_image(volume: Volume, labels: NDArray[np.uint8], z: int, source: Provenance) -> bytes:
    """PNG of plane ``z`` in the brain window, the label map [z, y, x] outlined, in radiological orientation.

    The patient's right is on the picture's left and anterior is at the top. Voxels are drawn in their true proportions.
    """
    seen = radiological(volume.voxels[z], labels[z] > 0, volume.affine[:3, 0], volume.affine[:3, 1])
    picture = draw(seen, Caption((WARNING,), (f"{source.model} {source.version}",)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def radiological(hounsfield: NDArray[np.int16], marked: NDArray[np.bool_], across: Vector, down: Vector) -> KeySlice:
    """A slice [row, column] as it was stored, turned as radiologists see it."""
    # A slice may be stored along any axis: turn it until columns run to the patient's left and rows to the back.
    if abs(across[0]) < abs(down[0]):
        hounsfield, marked, across, down = hounsfield.T, marked.T, down, across
    if across[np.abs(across).argmax()] < 0:
        hounsfield, marked, across = hounsfield[:, ::-1], marked[:, ::-1], -across
    # The head's axis (z) points up in coronal and sagittal planes, to the back (y) downwards in axial ones.
    main = int(np.abs(down).argmax())
    if (down[main] < 0) != (main == 2):
        hounsfield, marked, down = hounsfield[::-1], marked[::-1], -down
    return KeySlice(hounsfield, marked, across, down)


def draw(seen: KeySlice, caption: Caption, side: int = SIDE) -> Image.Image:
    """The slice in the brain window and in its true proportions, outlined, with the caption and the directions."""
    rows, columns = seen.hounsfield.shape
    height, width = rows * float(np.linalg.norm(seen.down)), columns * float(np.linalg.norm(seen.across))
    size = max(round(side * width / max(width, height)), 1), max(round(side * height / max(width, height)), 1)
    low, high = CENTRE_HU - WIDTH_HU // 2, CENTRE_HU + WIDTH_HU // 2
    grey = ((np.clip(seen.hounsfield, low, high) - low).astype(np.uint16) * 255 // WIDTH_HU).astype(np.uint8)
    top = MARGIN * len(caption.above)
    picture = Image.new("RGB", (size[0], top + size[1] + MARGIN * len(caption.below)))
    if enlarged := _enlarged(Image.fromarray(grey), size):
        shown, (left, upper) = enlarged
        picture.paste(shown.convert("RGB"), (left, top + upper))
    if outlined := _enlarged(Image.fromarray(seen.marked.view(np.uint8) * 255), size):
        near, (left, upper) = outlined
        picture.paste(OUTLINE, (left, top + upper), _edge(near))
    _write(picture, caption, seen)
    return picture


def card(lines: tuple[str, ...], font: str | None, side: int = SIDE) -> Image.Image:
    """A picture of nothing but lines of text."""
    picture = Image.new("RGB", (side, 2 * MARGIN * (len(lines) + 2)))
    for number, line in enumerate(lines):
        _line(picture, line, 2 * MARGIN * (number + 1.5), font, 36)
    return picture


def _edge(marked: Image.Image) -> Image.Image:
    """A mask of what lies close around what is marked."""
    inside = np.asarray(marked) > 127
    edge = ndimage.binary_dilation(inside, iterations=_OUTLINE_PIXELS) & ~inside
    return Image.fromarray(edge.view(np.uint8) * 255)


def _enlarged(image: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]] | None:
    """The part of an image that is not black, as resized to this size as a whole, and where its corner is in that.

    None where all is black. Air is black, most of a slice is air, and nearly nothing of it is marked.
    """
    box = image.getbbox()
    if box is None:
        return None
    scales = size[0] / image.width, size[1] / image.height
    # Two voxels around it, so that the interpolation does not end at the crop, and room for the outline.
    left, top = (max(int((low - 2) * scale) - _OUTLINE_PIXELS, 0) for low, scale in zip(box[:2], scales, strict=True))
    right, bottom = (
        min(int((high + 2) * scale) + _OUTLINE_PIXELS, edge)
        for high, scale, edge in zip(box[2:], scales, size, strict=True)
    )
    source = left / scales[0], top / scales[1], right / scales[0], bottom / scales[1]
    part = image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=source)
    return part, (left, top)


def _write(picture: Image.Image, caption: Caption, seen: KeySlice) -> None:
    """Burn in the caption and the directions."""
    top, bottom = MARGIN * len(caption.above), picture.height - MARGIN * len(caption.below)
    for number, line in enumerate(caption.above):
        _line(picture, line, MARGIN * (number + 0.5), caption.font)
    for number, line in enumerate(caption.below):
        _line(picture, line, bottom + MARGIN * (number + 0.5), caption.font)
    middle_x, middle_y = picture.width / 2, (top + bottom) / 2
    _text(picture, (10, middle_y), _letter(-seen.across), 30, None, "lm")
    _text(picture, (picture.width - 10, middle_y), _letter(seen.across), 30, None, "rm")
    _text(picture, (middle_x, top + 8), _letter(-seen.down), 30, None, "mt")
    _text(picture, (middle_x, bottom - 8), _letter(seen.down), 30, None, "mb")


def _line(picture: Image.Image, line: str, y: float, font: str | None, size: int = 18) -> None:
    """One line in the middle, small enough to be seen whole."""
    while size > 8 and _font(size, font).getlength(line) > picture.width - 8:
        size -= 1
    _text(picture, (picture.width / 2, y), line, size, font, "mm")


def _text(
    picture: Image.Image, place: tuple[float, float], text: str, size: int, font: str | None, anchor: str
) -> None:
    """Burn in a text. ``anchor`` says which point of it is at the place, as Pillow does."""
    stamp, left, top = _stamp(text, size, font, anchor)
    picture.paste(TEXT, (round(place[0]) + left, round(place[1]) + top), stamp)


@lru_cache(maxsize=64)
def _stamp(text: str, size: int, font: str | None, anchor: str) -> tuple[Image.Image, int, int]:
    """A text as a mask, and where its corner is from the anchor. Warning and letters are the same in all pictures."""
    left, top, right, bottom = (round(edge) for edge in _font(size, font).getbbox(text, anchor=anchor))
    stamp = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(stamp).text((-left, -top), text, 255, _font(size, font), anchor=anchor)
    return stamp, left, top


@lru_cache(maxsize=32)
def _font(size: int, path: str | None) -> Any:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _letter(direction: Vector) -> str:
    axis = int(np.abs(direction).argmax())
    return _TOWARDS[axis][0 if direction[axis] > 0 else 1]
