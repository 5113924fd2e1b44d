"""A consumer of sinsok's events that needs nothing of sinsok's code: consume.py SETTINGS SCHEMAS STATE TOPIC...

SETTINGS is a file of Kafka client settings (name=value), SCHEMAS the folder of the JSON Schemas, STATE a SQLite file
that outlives the process. One line an event:

    new      counts now: show it
    old      a newer or a confirmed result of this study is shown already
    seen     the same event again, dropped by its ce_id
    unknown  of a type that this consumer has no schema for, passed over
    broken   does not fit its schema: a person has to look
"""

import json
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message
from jsonschema import Draft202012Validator

FIELDS = ("site", "study_uid", "alert_id", "revision", "unconfirmed", "outcome", "priority", "destination", "reason")
TABLES = """
    CREATE TABLE IF NOT EXISTS handled (id TEXT PRIMARY KEY, time TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS results
        (study TEXT PRIMARY KEY, revision INTEGER NOT NULL, unconfirmed INTEGER NOT NULL, event TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, study TEXT NOT NULL, withdrawn INTEGER NOT NULL);
"""
# A higher revision counts over a lower one; of one revision a confirmed result over an unconfirmed one, else the later.
KEEP_RESULT = """
    INSERT INTO results VALUES (:study, :revision, :unconfirmed, :event) ON CONFLICT (study) DO UPDATE
    SET revision = excluded.revision, unconfirmed = excluded.unconfirmed, event = excluded.event
    WHERE (excluded.revision, -excluded.unconfirmed) >= (results.revision, -results.unconfirmed)
"""
KEEP_ALERT = """
    INSERT INTO alerts VALUES (:alert_id, :study, :withdrawn) ON CONFLICT (id) DO UPDATE
    SET withdrawn = max(withdrawn, excluded.withdrawn)
"""


def read_settings(path: Path) -> dict[str, str]:
    """The lines ``name=value`` of a file."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def read_schemas(folder: Path) -> dict[str, Draft202012Validator]:
    """A validator for each ce_type: the schema urn:sinsok:schema:StudyTriaged.v1 is of sinsok.StudyTriaged.v1."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.schema.json")]
    return {"sinsok." + schema["$id"].rpartition(":")[2]: Draft202012Validator(schema) for schema in schemas}


def handle(message: Message, validators: dict[str, Draft202012Validator], state: sqlite3.Connection) -> str:
    """What became of a message, in one line. What is kept and that it was handled become true together."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
    kind, event_id = headers.get("ce_type", ""), headers.get("ce_id", "")
    place = f"{message.topic()}/{message.partition()}/{message.offset()}"
    if kind not in validators:
        return f"unknown {place}"
    if state.execute("SELECT 1 FROM handled WHERE id = ?", (event_id,)).fetchone():
        return f"seen {kind} {event_id}"
    event = parse(message.value())
    # Which rule of the schema it breaks, never what it says there.
    faults = ["/".join(map(str, fault.absolute_schema_path)) for fault in validators[kind].iter_errors(event)]
    if faults or event["event_id"] != event_id:
        print(f"{place}: {faults or 'ce_id is not event_id'}", file=sys.stderr)
        return f"broken {kind} {place}"
    verdict = keep(kind, headers["ce_subject"], event, state)
    state.execute("INSERT INTO handled VALUES (?, ?)", (event_id, event["time"]))
    said = [f"{name}={json.dumps(event[name], ensure_ascii=False)}" for name in FIELDS if name in event]
    return " ".join([verdict, kind, event_id, *said])


def parse(value: bytes | None) -> Any:
    """The JSON of a message; None, which no schema allows, where there is none."""
    try:
        return json.loads(value or b"null", parse_constant=float_of_no_json)
    except (ValueError, RecursionError):
        return None


def float_of_no_json(name: str) -> float:
    """NaN and Infinity, which only Python takes for JSON."""
    raise ValueError(name)


def keep(kind: str, study: str, event: dict[str, Any], state: sqlite3.Connection) -> str:
    """Write down what a PACS would show. Fields that a later version added are not looked at."""
    match kind:
        case "sinsok.StudyTriaged.v1":
            row = {"study": study, "event": json.dumps(event), **{k: event[k] for k in ("revision", "unconfirmed")}}
            return "new" if state.execute(KEEP_RESULT, row).rowcount else "old"
        case "sinsok.AlertRaised.v1" | "sinsok.AlertWithdrawn.v1":
            withdrawn = kind == "sinsok.AlertWithdrawn.v1"
            state.execute(KEEP_ALERT, {"alert_id": event["alert_id"], "study": study, "withdrawn": withdrawn})
    return "new"


def main(settings: str, schemas: str, state_file: str, *topics: str) -> None:
    """Read until SIGTERM or SIGINT; what is in hand then is finished."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    validators = read_schemas(Path(schemas))
    state = sqlite3.connect(state_file)
    state.executescript(TABLES)
    # An offset is stored, and then committed in the background, only after its message was handled.
    own = {"auto.offset.reset": "earliest", "enable.auto.offset.store": False}
    consumer = Consumer({**read_settings(Path(settings)), **own})
    consumer.subscribe(list(topics))
    try:
        while not stopping:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error():
                if message.error().retriable():
                    continue
                raise KafkaException(message.error())
            with state:  # a crash before the commit prints the line again: at least once, never not at all
                print(handle(message, validators, state), flush=True)
            consumer.store_offsets(message=message)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
