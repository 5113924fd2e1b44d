"""A page with a viewer, and the pictures it asks for, under the strictest policy a page can have."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import gateways.console
from gateways.console.pictures import TILE_ENCODING, TILE_TYPE, Pictures
from gateways.console.stack import WINDOWS, Stack
from schemas.base import NOTICE, ObjectRef
from schemas.events import Finding

STATIC = Path(gateways.console.__file__).parent / "static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Viewer</title>
<link rel="stylesheet" href="/static/viewer.css">
<section class="pictures" data-content="as it was">
<p class="changed" hidden>The images have changed. <a href="/">Load anew</a></p>
<figure class="viewer" data-series="/series" data-marks="{marks}"{finding}>
<img src="/series/{marks}/picture{query}" alt="">
</figure>
</section>
<div id="state">
<p data-content="as it was" hidden></p>
<a href="/?finding=1" data-finding="1">The other finding</a>
</div>
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
        self.changed: set[str] = set()
        self.url = ""

    def answer(self, path: str, query: str = "") -> Answer | None:
        self.asked[path] += 1
        _, first, *rest = path.split("/")
        if path in self.failing | self.changed:
            return None
        if first == "":
            return Answer(self.page(query).encode(), "text/html; charset=utf-8", {})
        if first == "favicon.ico":
            return Answer(b"", "image/x-icon", {})
        if first == "static" and (file := STATIC / rest[0]).exists():
            kind = "text/javascript" if file.suffix == ".js" else "text/css"
            return Answer(file.read_bytes(), kind, {})
        if first == "series":
            return self.series(*rest, query)
        if first == "pictures":
            window = WINDOWS[rest[1]]
            return Answer(self.pictures.picture(self.manifest, int(rest[0]), window), "image/png", {})
        return None

    def series(self, marks: str, what: str, query: str) -> Answer | None:
        if marks == "tiles":
            tile = self.pictures.tile(self.manifest, int(what))
            return Answer(tile, TILE_TYPE, {"Content-Encoding": TILE_ENCODING})
        if what == "picture":
            index = self.stack.opening(_finding(query))
            return Answer(self.pictures.picture(self.manifest, index, WINDOWS["brain"]), "image/png", {})
        said: object
        if what == "stack.json":
            said = self.stack.for_page() | {
                "findings": list(range(len(self.findings))),
                "legend": [{"label": 1, "name": "Bleed"}] if self.label_map else [],
                "cautions": ["1 of 13 slices are missing"],
                "notice": NOTICE,
            }
        elif what == "outlines.json" and self.label_map:
            said = self.pictures.outlines(self.manifest, self.label_map)
        else:
            return None
        return Answer(json.dumps(said, separators=(",", ":")).encode(), "application/json", {})

    @property
    def stack(self) -> Stack:
        return self.pictures.stack(self.manifest, self.label_map, self.findings)

    def page(self, query: str) -> str:
        finding = _finding(query)
        return PAGE.format(
            marks="marked" if self.label_map else "none",
            finding="" if finding is None else f' data-finding="{finding}"',
            query="" if finding is None else f"?finding={finding}",
        )


def _finding(query: str) -> int | None:
    return int(query.removeprefix("finding=")) if query else None


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
            path = urlsplit(self.path)
            answer = site.answer(path.path, path.query)
            self.send_response(409 if path.path in site.changed else 404 if answer is None else 200)
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
