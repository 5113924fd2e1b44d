"""A study's bundle, checked by the script that the documentation gives to others."""

import base64
import io
import json
import runpy
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from gateways.audit.account import Account
from gateways.audit.bundle import Excerpt, bundle
from gateways.audit.canonical import record_digest
from gateways.audit.chain import Chain
from gateways.audit.keys import Signer, Verifier, public_pem
from gateways.kafka import Record
from schemas.failures import Unreadable
from tests.unit.gateways.audit.examples import AT, OTHER, SIGNER, VERIFIER, on_topic, told

SCRIPT: Final = runpy.run_path(str(Path(__file__).parents[4] / "docs" / "examples" / "python" / "verify_bundle.py"))
STUDY: Final = "5" * 64
Files = dict[str, Any]


def event(number: int) -> Record:
    value = json.dumps({"outcome": "findings", "number": number}).encode()
    return Record("triage.results", 4, number, 1000 + number, b"key", [("ce_type", b"x"), ("none", b"")], value)


def about(record: Record, study: str) -> Account:
    number = record.offset
    where = told(number).where.model_copy(update={"topic": record.topic, "partition": record.partition})
    return told(number)._replace(study=study, where=where, digest=record_digest(record))


def trail(events: int = 30, earlier: Signer = SIGNER) -> list[Record]:
    """Every third record is about the study; a checkpoint after every eleven, and some records behind the last.

    The first two checkpoints are by an earlier key.
    """
    chain = Chain.begin("suwon")
    values = [chain.checkpoint(earlier, AT).value]
    for number in range(events):
        values.append(chain.append(about(event(number), STUDY if number % 3 == 0 else "6" * 64)).value)
        if len(chain.unsigned) == 11:
            values.append(chain.checkpoint(earlier if number < 12 else SIGNER, AT).value)
    return [on_topic("suwon", value, at) for at, value in enumerate(values)]


def excerpt(records: list[Record], verifier: Verifier = VERIFIER) -> Excerpt:
    taken = Excerpt("suwon", STUDY, verifier)
    for record in records:
        taken.take(record)
    return taken


def files(taken: Excerpt | None = None) -> Files:
    events = [event(number) for number in range(0, 30, 3)]
    packed = bundle("suwon", "1.2.3", STUDY, taken or excerpt(trail()), events, SIGNER, AT)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def faults(found: Files, *signers: Signer) -> list[str]:
    keys = SCRIPT["key_ring"]([public_pem(one.public) for one in signers or (SIGNER,)])
    return list(SCRIPT["faults"](found, keys))


def changed(name: str, change: Callable[[Any], Any]) -> Files:
    """A bundle of which one file was changed, and its digest in the manifest with it."""
    found = files()
    document = json.loads(found[name])
    change(document)
    found[name] = json.dumps(document).encode()
    manifest = json.loads(found["manifest.json"])
    manifest["files"][name] = SCRIPT["hexdigest"](found[name])
    found["manifest.json"] = json.dumps(manifest).encode()
    return found


def test_the_documented_script_accepts_it():
    assert faults(files()) == []


def test_all_of_a_study_is_in_it_and_nothing_of_another():
    records = [json.loads(one["record"]) for one in json.loads(files()["records.json"])]

    assert [one["where"]["offset"] for one in records] == list(range(0, 30, 3))
    assert {one["study"] for one in records} == {STUDY}


def test_what_no_checkpoint_signs_yet_is_told_apart():
    entries = json.loads(files()["records.json"])

    assert [one["checkpoint"] is None for one in entries] == [False] * 8 + [True] * 2
    assert len(excerpt(trail()).unsigned) == 2


def test_another_key_is_not_believed():
    assert any("manifest.json: its signature" in one for one in faults(files(), OTHER))


def value(document: list[dict[str, Any]]) -> None:
    document[2]["value"] = base64.b64encode(b"no findings").decode()


def header(document: list[dict[str, Any]]) -> None:
    document[2]["headers"].pop()


def time(document: list[dict[str, Any]]) -> None:
    document[2]["timestamp_ms"] += 1


def left_out(document: list[dict[str, Any]]) -> None:
    del document[2]


@pytest.mark.parametrize("change", [value, header, time])
def test_a_changed_event_is_named(change):
    assert "changed: event sinsok.StepTaken.v1 at triage.results/4/6" in faults(changed("events.json", change))


def test_an_event_that_is_left_out_or_put_in_is_named():
    assert "removed: event sinsok.StepTaken.v1 at triage.results/4/6" in faults(changed("events.json", left_out))
    assert any("triage.results/4/6: no audit record" in one for one in faults(changed("records.json", left_out)))


def test_a_changed_audit_record_does_not_lead_to_its_checkpoint():
    def change(document: list[dict[str, Any]]) -> None:
        document[2]["record"] = document[2]["record"].replace('"who":"assemble"', '"who":"nobody"')

    assert any("audit record 7: it does not lead" in one for one in faults(changed("records.json", change)))


def test_a_changed_checkpoint_is_not_signed():
    def change(document: list[str]) -> None:
        document[0] = document[0].replace('"last":11', '"last":12')

    assert any("checkpoint 12: its signature" in one for one in faults(changed("checkpoints.json", change)))


def test_a_chain_that_is_broken_gives_no_bundle():
    records = trail()
    records[5] = replace(records[5], value=(records[5].value or b"").replace(b"assemble:", b"assembles"))

    with pytest.raises(Unreadable, match=r"suwon at audit\.trail/1/12: checkpoint 12 does not sign"):
        excerpt(records)


def test_what_an_unknown_key_signed_is_proven_by_nothing():
    taken = excerpt(trail(), Verifier([OTHER.public]))

    assert (len(taken.unsigned), taken.checkpoints) == (10, {})
    with pytest.raises(Unreadable, match="checkpoint 0 is not signed with a key of this installation"):
        excerpt(trail(earlier=OTHER))


def test_a_second_export_does_not_hold_the_note_of_the_first():
    """It names the study in its words, and is about none."""
    chain = Chain.begin("suwon")
    noted = told(77, f"bundle of study {STUDY}, 10 records")._replace(study=None)
    values = [chain.checkpoint(SIGNER, AT).value, chain.append(about(event(0), STUDY)).value, chain.append(noted).value]
    values.append(chain.checkpoint(SIGNER, AT).value)

    taken = excerpt([on_topic("suwon", value, at) for at, value in enumerate(values)])

    assert [one.link.where.offset for one in taken.records] == [0]
    assert taken.unsigned == []


def test_a_study_of_an_earlier_key_verifies_with_that_key_and_not_without():
    found = files(excerpt(trail(earlier=OTHER), Verifier([OTHER.public, SIGNER.public])))

    assert found["retired-1.pub"] == public_pem(OTHER.public)
    assert faults(found, SIGNER, OTHER) == []
    assert any("checkpoint 12: its signature does not fit" in one for one in faults(found, SIGNER))
    assert "retired-1.pub" not in files()


def test_what_somebody_else_put_on_the_trail_keeps_no_study_from_its_bundle():
    records = trail()
    records[5:5] = [on_topic("suwon", stray, 99) for stray in (b"?", records[9].value or b"")]

    assert faults(files(excerpt(records))) == []
