"""Names in the group are stable over restarts and never shared by two live processes."""

import subprocess
import sys
from pathlib import Path

from streams.faust_app import Slot, app_id, partition_of

HOLD = """
import sys
from pathlib import Path
from streams.faust_app import Slot
print(Slot("infer", Path(sys.argv[1])).instance, flush=True)
sys.stdin.read()
"""


def test_two_live_processes_never_share_a_name(tmp_path: Path) -> None:
    first, second = Slot("infer", tmp_path), Slot("infer", tmp_path)
    assert first.instance != second.instance
    assert first.instance.endswith("-0")


def test_hops_and_folders_have_names_of_their_own(tmp_path: Path) -> None:
    slots = [Slot("infer", tmp_path / "a"), Slot("infer", tmp_path / "b"), Slot("alert", tmp_path / "a")]
    assert len({slot.instance for slot in slots}) == 3


def test_a_killed_process_leaves_its_name_to_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = holder.stdout.readline().strip()
        assert Slot("infer", tmp_path).instance != held
        holder.kill()
        holder.wait()
        assert Slot("infer", tmp_path).instance == held


def test_a_key_has_one_partition() -> None:
    assert partition_of(b"21") == partition_of(b"21")
    assert {partition_of(str(n).encode()) for n in range(500)} == set(range(12))


def test_the_group_is_named_after_the_hop() -> None:
    assert app_id("infer") == "sinsok-infer"
