"""TLS files that cannot be used."""

import subprocess
from pathlib import Path

import pytest

from gateways.tls import TlsSettings, client_context, server_context
from schemas.failures import Unavailable


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "1"),
            *("-passout", "pass:secret", "-subj", "/CN=test", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, made: tuple[Path, Path]) -> None:
    certificate, key = made
    (tmp_path / "text").write_text("no certificate")
    cases = {
        r"none or its key cannot be used: No such file": TlsSettings(ca=tmp_path / "none"),
        r"text or its key cannot be used: ": TlsSettings(ca=tmp_path / "text"),
        r"certificate\.pem or its key cannot be used: ": TlsSettings(ca=certificate, certificate=certificate),
    }
    for words, settings in cases.items():
        with pytest.raises(Unavailable, match=words):
            client_context(settings)
    # A key with a password is no reason to ask for one on a terminal.
    with pytest.raises(Unavailable, match=r"certificate\.pem or its key cannot be used"):
        client_context(TlsSettings(ca=certificate, certificate=certificate, key=key))


def test_a_listener_needs_a_certificate(made: tuple[Path, Path]) -> None:
    with pytest.raises(Unavailable, match="without a certificate of ours"):
        server_context(TlsSettings(ca=made[0]))
