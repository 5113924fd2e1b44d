from pathlib import Path

from sinsok import settings, wiring
from sinsok.stack.processes import HOPS
from streams.hop import StatefulHop, StatelessHop
from streams.pipeline import pipeline

CONFIGURATION = settings.load({"SINSOK_CONFIG": str(Path(__file__).parents[3] / "sinsok.toml")})


def test_every_hop_of_the_pipeline_has_a_process() -> None:
    hops = pipeline(CONFIGURATION.rules, wiring.inference(CONFIGURATION))
    assert tuple(hop.name for hop in hops if isinstance(hop, StatelessHop | StatefulHop)) == HOPS


def test_the_wiring_gives_the_hop_that_was_asked_for() -> None:
    assert wiring.stream_hop(CONFIGURATION, "alert").name == "alert"
