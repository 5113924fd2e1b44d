import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sinsok.stack import state
from sinsok.stack.state import PartState


def test_state_is_written_whole(tmp_path: Path) -> None:
    assert state.read(tmp_path) == {}
    written = [PartState("kafka", "ready", 12, "127.0.0.1:9092"), PartState("triton", "failed", reason="why")]

    state.write(tmp_path, written)

    assert list(state.read(tmp_path).values()) == written
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["stack.json"]
    assert json.loads((tmp_path / "run" / "stack.json").read_text())[0]["name"] == "kafka"


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    assert state.supervisor_pid(tmp_path) is None
    with state.supervising(tmp_path):
        assert state.supervisor_pid(tmp_path) == os.getpid()
        with pytest.raises(state.AlreadySupervised), state.supervising(tmp_path):
            pass
        assert state.supervisor_pid(tmp_path) == os.getpid()
    assert state.supervisor_pid(tmp_path) is None


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from sinsok.stack import state\n"
        "with state.supervising(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)

    assert killed.returncode == -9
    assert state.supervisor_pid(tmp_path) is None
    with state.supervising(tmp_path):
        pass
