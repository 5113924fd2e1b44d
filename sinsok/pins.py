"""Which version of a model the routes of a configuration file read with, changed in place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from gateways.objects import write_whole
from streams.route import split


def pin(path: Path, model: str, version: str) -> tuple[int, tuple[str, ...]]:
    """Make every route of a file that names a model name this version of it; all else stays as it is written.

    Returns how many places name the model, and the other versions that stood there. Raises ``OSError``.
    """
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    places, before = 0, []
    for route in _routes(document):
        named = []
        if route.get("model") == model:
            named.append((route, "version", str(route.get("version", "1")), version))
        for table, key in ((route, "confirm"), (route.get("gate", {}), "model")):
            name, stated = split(str(table.get(key, "")))
            if name == model and stated:
                named.append((table, key, stated, f"{model}@{version}"))
        places += len(named)
        for table, key, stated, value in named:
            if stated != version:
                table[key] = value
                before.append(stated)
    if before:
        file = path.resolve()
        mode = file.stat().st_mode
        write_whole(file, tomlkit.dumps(document).encode())
        file.chmod(mode)
    return places, tuple(sorted(set(before), key=int))


def _routes(document: Any) -> Iterator[Table]:
    yield from document.get("routes", [])
    for site in document.get("sites", {}).values():
        yield from site.get("routes", [])
