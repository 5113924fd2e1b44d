"""Every address of the console: a route is walked because it is served, not because somebody thought of it here."""

import asyncio
import gzip
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlencode

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.types import Message

from gateways.console.live import Hub
from gateways.console.stack import Stack, Window
from gateways.console.view import View
from gateways.imaging.orientation import Edges
from gateways.letters.box import State
from schemas.base import ObjectRef
from schemas.events import Finding
from tests.unit.gateways.console.house import SITES, Browser, key

SUWON, ANSEONG = "2.25.7770001", "2.25.8880001"
"""A study of each site."""
SECRET_PIXELS: Final = "SECRET-PIXELS"
Values = Mapping[str, tuple[str, ...]]


def values_of(view: View) -> Values:
    """What every parameter of an address may be: of each study that there is, and of the site of each.

    Dead letters are on one partition.
    """
    known = [view.study(site, key(uid, site)) for site in SITES for uid in (SUWON, ANSEONG)]
    studies = [study for study in known if study is not None]
    shown = [one for study in studies for one in study.pictures]
    alerts = tuple(str(alert) for study in studies for alert in study.alerts)
    return {
        "site": SITES,
        "study_key": tuple(study.key for study in studies),
        "alert_id": alerts,
        "alert": alerts,
        "images": tuple(dict.fromkeys(one.images for one in shown)),
        "marks": (*dict.fromkeys(one.marks for one in shown if one.label_map), "none"),
        "index": ("7",),
        "finding": ("0",),
        "show": ("all",),
        "page": ("1", "2"),
        "partition": ("0",),
        "offset": tuple(str(case.letter.place.offset) for case in view.box.cases(*State)),
        "next": ("/operators",),
        "state": ("somewhere",),
        "code": ("secret",),
    }


class Operation(NamedTuple):
    """A method of a path, as the app's own OpenAPI document describes it."""

    method: str
    path: str
    described: dict[str, Any]

    def names(self, where: str) -> list[str]:
        return [one["name"] for one in self.described.get("parameters", ()) if one["in"] == where]


def operations(app: FastAPI) -> list[Operation]:
    """All that is served but the static files. Fails where something is served that a walk would pass by."""
    served = set()
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, Mount):
            assert context.path == "/static", f"nothing walks what is mounted at {context.path}"
            continue
        assert context.methods, f"nothing walks a route of this kind: {context.path}"
        served |= {(method, context.path) for method in context.methods}
    found = [
        Operation(method.upper(), path, described)
        for path, methods in app.openapi()["paths"].items()
        for method, described in methods.items()
    ]
    assert {(one.method, one.path) for one in found} == served, "nothing walks what is kept out of the document"
    return found


def addresses(operation: Operation, values: Values) -> Iterator[str]:
    """The path with every value for what stands in it, and with every value of every part of its query, or none."""
    in_path, in_query = operation.names("path"), operation.names("query")
    for name in (*in_path, *in_query):
        assert name in values, f"say in values_of what {name} of {operation.path} may be"
    for path in product(*(values[name] for name in in_path)):
        for query in product(*(("", *values[name]) for name in in_query)):
            said = {name: value for name, value in zip(in_query, query, strict=True) if value}
            address = operation.path.format(**dict(zip(in_path, path, strict=True)))
            yield address + (f"?{urlencode(said)}" if said else "")


def end_streams(hub: Hub) -> None:
    """From now on a stream says that it has begun, and ends: a walk goes on."""

    async def end() -> None:
        hub.open()
        hub.close()
        await asyncio.sleep(0)

    asyncio.run(end())


def form_token(browser: Browser) -> str:
    """For forms of whoever sits there."""
    page = "/" if (home := browser.get("/")).status_code == 200 else home.headers["location"]
    return browser.token(page)


class Betraying:
    """Pictures that say so where they are those of one series."""

    def __init__(self, secret: ObjectRef | None = None) -> None:
        self._secret = secret

    def _of(self, manifest: ObjectRef) -> str:
        return SECRET_PIXELS if manifest == self._secret else "other pixels"

    def stack(self, manifest: ObjectRef, label_map: ObjectRef | None = None, findings: Sequence[Finding] = ()) -> Stack:
        return Stack(((1,),) * 9, 2, 2, (1, 1), Edges("R", "L", "A", "P"), (), (self._of(manifest),))

    def picture(self, manifest: ObjectRef, index: int, window: Window) -> bytes:
        return self._of(manifest).encode()

    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        return gzip.compress(self._of(manifest).encode())

    def outlines(self, manifest: ObjectRef, label_map: ObjectRef) -> dict[int, dict[int, str]]:
        return {7: {1: self._of(manifest)}}


class Raw:
    """A client that sends an address as it is given; others tidy it up first. For use in one event loop."""

    def __init__(self, app: FastAPI, browser: Browser | None = None, **headers: str) -> None:
        self._app = app
        held = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()) if browser else ""
        sent = {"host": "127.0.0.1:8080", "accept": "text/html", "cookie": held} | headers
        self._headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]

    async def follow(self, address: str, heard: asyncio.Queue[str]) -> int:
        """GET, with each part of the body as it comes; the status once it has ended."""
        path, _, query = address.partition("?")
        begun = False
        status = 0

        async def receive() -> Message:
            nonlocal begun
            if begun:
                await asyncio.Event().wait()  # never goes away
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if body := message.get("body", b""):
                heard.put_nowait(body.decode(errors="replace"))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": self._headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
        }
        await self._app(scope, receive, send)
        return status

    def get(self, address: str) -> tuple[int, str]:
        """Status and body."""
        heard: asyncio.Queue[str] = asyncio.Queue()
        status = asyncio.run(self.follow(address, heard))
        return status, "".join(heard.get_nowait() for _ in range(heard.qsize()))
