"""A page with a viewer, and the pictures it asks for, under the strictest policy a page can have."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import gateways.console
from gateways.console.pictures import TILE_ENCODING, TILE_TYPE, Pictures, etag
from gateways.console.stack import WINDOWS
from schemas.base import ObjectRef
from schemas.events import Finding

STATIC = Path(gateways.console.__file__).parent / "static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Viewer</title>
<link rel="stylesheet" href="/static/viewer.css">
<figure class="viewer" data-stack="{stack}" data-tile="/tiles/{{index}}"{outlines}>
<img src="/pictures/{opening}/brain" width="{width}" height="{height}" alt="">
</figure>
<script type="module" src="/static/viewer.js"></script>
</html>
"""


class Answer(NamedTuple):
    body: bytes
    kind: str
    headers: dict[str, str]


class Site:
    """What the console serves of one series. ``asked`` counts the requests by path."""

    def __init__(
        self, pictures: Pictures, manifest: ObjectRef, label_map: ObjectRef | None, findings: Sequence[Finding]
    ) -> None:
        self.pictures, self.manifest, self.label_map, self.findings = pictures, manifest, label_map, findings
        self.asked: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.url = ""

    def answer(self, path: str) -> Answer | None:
        self.asked[path] += 1
        _, first, *rest = path.split("/")
        tagged = {"ETag": etag(self.manifest), "Cache-Control": "private, no-cache"}
        if path in self.failing:
            return None
        if first == "":
            return Answer(self.page().encode(), "text/html; charset=utf-8", {})
        if first == "favicon.ico":
            return Answer(b"", "image/x-icon", {})
        if first == "static" and (file := STATIC / rest[0]).exists():
            kind = "text/javascript" if file.suffix == ".js" else "text/css"
            return Answer(file.read_bytes(), kind, {})
        if first == "tiles":
            tile = self.pictures.tile(self.manifest, int(rest[0]))
            return Answer(tile, TILE_TYPE, {"Content-Encoding": TILE_ENCODING, **tagged})
        if first == "pictures":
            window = WINDOWS[rest[1]]
            return Answer(self.pictures.picture(self.manifest, int(rest[0]), window), "image/png", tagged)
        if first == "outlines" and self.label_map:
            outlines = self.pictures.outlines(self.manifest, self.label_map)
            return Answer(json.dumps(outlines, separators=(",", ":")).encode(), "application/json", {})
        return None

    def page(self) -> str:
        stack = self.pictures.stack(self.manifest, self.label_map, self.findings)
        width, height = stack.size
        return PAGE.format(
            stack=escape(json.dumps(stack.for_page())),
            outlines=' data-outlines="/outlines"' if self.label_map else "",
            opening=stack.opening,
            width=width,
            height=height,
        )


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that is closed leaves connections behind."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(
    pictures: Pictures, manifest: ObjectRef, label_map: ObjectRef | None = None, findings: Sequence[Finding] = ()
) -> Iterator[Site]:
    """The site on a free port, until the end of the block."""
    site = Site(pictures, manifest, label_map, findings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = site.answer(urlsplit(self.path).path)
            self.send_response(404 if answer is None else 200)
            body, kind, headers = answer or Answer(b"", "text/plain", {})
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        site.url = f"http://127.0.0.1:{server.server_port}/"
        yield site
        server.shutdown()
