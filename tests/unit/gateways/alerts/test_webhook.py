"""Signatures, and that the documented example believes ours and nobody else's."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts.webhook import SIGNATURE, TIMESTAMP, signed

SECRET, BODY, NOW = "a secret of 16 or more", b'{"key":"1"}', 1_772_000_000


@pytest.fixture(scope="module")
def example() -> Any:
    path = Path(__file__).parents[4] / "docs" / "examples" / "python" / "verify_webhook.py"
    spec = importlib.util.spec_from_file_location("verify_webhook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_signature() -> None:
    """Computed with OpenSSL: printf '1772000000.{"key":"1"}' | openssl dgst -sha256 -hmac 'a secret of 16 or more'."""
    assert signed(SECRET, NOW, BODY) == {
        TIMESTAMP: "1772000000",
        SIGNATURE: "v1=ff759f1104978c8b03e3ee9034eeae6fe0a8b01234255e00c595b5fc9aae60b7",
    }


def test_the_example_believes_what_is_signed_and_new(example: Any) -> None:
    headers = signed(SECRET, NOW, BODY)
    assert example.is_genuine(SECRET, headers, BODY, NOW + 299)
    assert not example.is_genuine(SECRET, headers, BODY, NOW + 301)
    assert not example.is_genuine(SECRET, headers, BODY, NOW - 301)
    assert not example.is_genuine(SECRET, headers, BODY + b" ", NOW)
    assert not example.is_genuine("another secret of 16 or more", headers, BODY, NOW)
    assert not example.is_genuine(SECRET, headers | {TIMESTAMP: str(NOW + 1)}, BODY, NOW)


@pytest.mark.parametrize(
    "headers",
    [{}, {TIMESTAMP: "now"}, {TIMESTAMP: str(NOW)}, {TIMESTAMP: "²"}, {TIMESTAMP: str(NOW), SIGNATURE: "v1=é"}],
)
def test_the_example_survives_what_others_send(example: Any, headers: dict[str, str]) -> None:
    assert not example.is_genuine(SECRET, headers, BODY, NOW)
