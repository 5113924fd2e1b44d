"""The key image in a mail: drawn where the site allows it, and never waited for long. A page goes out without it."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import Final

import structlog

from gateways.alerts.settings import Language
from gateways.imaging.picture import Caption, draw
from gateways.imaging.volume import SliceName
from gateways.objects import FileStore
from gateways.pacs.objects.fonts import hangul_font
from gateways.pacs.objects.key_image import key_slice
from gateways.pacs.objects.label_map import read_label_map
from gateways.pacs.objects.sources import SourceSeries
from gateways.pacs.objects.words import ENGLISH, KOREAN
from schemas.events import Finding, KeyPicture, SeriesDecision
from schemas.failures import Unavailable, Unreadable
from schemas.identity import study_key, trace_id
from schemas.paging import AlertPaged

SIDE: Final = 640
"""Longer edge of the slice, pixels: a phone's width, and a mail that every server takes."""
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 60.0

log = structlog.get_logger()


class KeyImages:
    """Draws one at a time. After a store that hangs none is tried for a minute: pages must not queue behind it."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="key-image")
        self._not_before = 0.0

    def png(self, page: AlertPaged, language: Language) -> bytes | None:
        """The largest finding of the picture's series on its key slice; None where none is drawn now."""
        picture = page.picture
        if picture is None or time.monotonic() < self._not_before:
            return None
        try:
            seen = (finding for finding in page.findings if finding.series_uid == picture.series_uid)
            drawn = max(seen, key=lambda finding: finding.volume_ml)
            return self._drawing.submit(self._draw, drawn, picture, language).result(_PATIENCE_S)
        except TookTooLong:
            self._not_before = time.monotonic() + _PAUSE_S
            self._say(page, f"not drawn within {_PATIENCE_S:g} s")
        except (Unavailable, Unreadable) as error:
            self._say(page, str(error))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a picture, the page goes out
            self._say(page, f"a fault of ours: {type(error).__name__}")
        return None

    def _draw(self, finding: Finding, picture: KeyPicture, language: Language) -> bytes:
        font = hangul_font() if language == "ko" else None
        words = KOREAN if font else ENGLISH
        decision = SeriesDecision(series_uid=finding.series_uid, model=None, reason="")
        series = SourceSeries(decision, picture.manifest, self._store, drawn=finding.key_instance_uid)
        name = SliceName(finding.key_instance_uid, finding.key_frame)
        label_map = read_label_map(series, picture.label_map, probability=False)
        marked = label_map.slice_labels(name) > 0 if name in label_map.planes else None
        source = picture.provenance
        caption = Caption((words.warning,), (f"{source.model} {source.version}",), font)
        content = io.BytesIO()
        draw(key_slice(series, name, marked), caption, SIDE).save(content, "PNG", optimize=True)
        return content.getvalue()

    def _say(self, page: AlertPaged, error: str) -> None:
        trace = trace_id(study_key(page.site, page.study_uid))
        log.warning("page goes out without its key image", alert=page.key, trace_id=trace, error=error)
