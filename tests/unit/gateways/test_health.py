import http.client
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateways.health import HealthServer


class Complaining:
    """Checks whose answers a test sets."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.ready: list[str] = []


@pytest.fixture
def checks() -> Complaining:
    return Complaining()


@pytest.fixture
def server(checks: Complaining) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("sinsok_tries", "Tries", registry=registry).inc(3)
    with HealthServer(
        "127.0.0.1", 0, alive=lambda: checks.alive, ready=lambda: checks.ready, registry=registry
    ) as server:
        yield server


def get(server: HealthServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_green_when_nothing_is_wrong(server: HealthServer) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (200, "ok\n")


def test_not_ready_is_not_dead(server: HealthServer, checks: Complaining) -> None:
    checks.ready = ["Kafka is away", "the disk is full"]

    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (503, "Kafka is away\nthe disk is full\n")


def test_dead_is_not_ready_either(server: HealthServer, checks: Complaining) -> None:
    checks.alive = ["no commit for 200 s"]

    assert get(server, "/healthz") == (503, "no commit for 200 s\n")
    assert get(server, "/readyz") == (503, "no commit for 200 s\n")


def test_a_check_that_cannot_tell_is_red() -> None:
    def broken() -> list[str]:
        raise KeyError("lag")

    with HealthServer("127.0.0.1", 0, alive=broken, ready=list, registry=CollectorRegistry()) as server:
        assert get(server, "/healthz") == (503, "the check failed: KeyError: 'lag'\n")


def test_metrics(server: HealthServer) -> None:
    status, text = get(server, "/metrics")

    assert status == 200
    assert "sinsok_tries_total 3.0" in text


def test_other_paths_are_unknown(server: HealthServer) -> None:
    assert get(server, "/")[0] == 404


def test_a_prober_that_hangs_up_harms_nobody(server: HealthServer) -> None:
    host, port = server.address.split(":")
    for _ in range(3):
        socket.create_connection((host, int(port))).close()

    assert get(server, "/healthz")[0] == 200


def test_the_address_is_free_again_after_close() -> None:
    with HealthServer("127.0.0.1", 0, alive=list, ready=list, registry=CollectorRegistry()) as server:
        port = int(server.address.split(":")[1])
    HealthServer("127.0.0.1", port, alive=list, ready=list, registry=CollectorRegistry()).close()


def test_a_taken_port_is_said() -> None:
    with (
        HealthServer("127.0.0.1", 0, alive=list, ready=list, registry=CollectorRegistry()) as server,
        pytest.raises(OSError, match="in use"),
    ):
        HealthServer(
            "127.0.0.1",
            int(server.address.split(":")[1]),
            alive=list,
            ready=list,
            registry=CollectorRegistry(),
        )
