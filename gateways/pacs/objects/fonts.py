"""A font that has Hangul; Pillow's own has none."""

from functools import lru_cache
from typing import Final

from PIL import ImageFont

HANGUL: Final = ("NanumGothic.ttf", "NotoSansCJK-Regular.ttc", "UnBatang.ttf")
"""As Debian's fonts-nanum, fonts-noto-cjk and fonts-unfonts-core name them; in any folder of the system's fonts."""


@lru_cache(maxsize=1)
def hangul_font() -> str | None:
    """The file of the first of them that is installed; None where there is none."""
    for name in HANGUL:
        try:
            return str(ImageFont.truetype(name, 18).path)
        except OSError:
            continue
    return None
