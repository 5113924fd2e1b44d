"""Certificates that end, have ended, or cannot be read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateways.watch.certificates import CertificateFile, ending, look
from schemas.alarms import AlarmKind
from schemas.audit import INSTALLATION

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def pem(days: float, *, key: bool = False) -> bytes:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pacs.test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=3650))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(secret, hashes.SHA256())
    )
    private = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if key else b""
    return private + made.public_bytes(Encoding.PEM)


def file(path: Path, content: bytes | None) -> CertificateFile:
    if content is not None:
        path.write_bytes(content)
    return CertificateFile(INSTALLATION, "writer.tls.certificate", path)


def test_the_first_of_a_file_to_end_counts_and_its_key_does_not(tmp_path: Path) -> None:
    one = file(tmp_path / "ours.pem", pem(400, key=True) + pem(20) + pem(90))
    assert look(one).until == NOW + timedelta(days=20)


def test_a_while_before_and_again_when_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "ours.pem"
    one = look(file(path, pem(20)))
    assert [*ending([one], 19.9, NOW)] == []
    (soon,) = ending([one], 30, NOW)
    assert (soon.key, soon.since, soon.renews) == (
        (INSTALLATION, AlarmKind.CERTIFICATE, str(path)),
        NOW - timedelta(days=10),
        True,
    )
    assert f"{path} (writer.tls.certificate) ends at 2026-03-21 03:00 UTC" in soon.detail
    (over,) = ending([one], 30, NOW + timedelta(days=20))
    assert over.since == NOW + timedelta(days=20), "another alarm than the one before"
    assert "is over since" in over.detail


def test_what_cannot_be_read_is_an_alarm_too(tmp_path: Path) -> None:
    absent, noise, key_only = (tmp_path / name for name in ("absent.pem", "noise.pem", "key.pem"))
    files = [
        file(absent, None),
        file(noise, b"\xff\x00"),
        file(key_only, pem(9, key=True).split(b"-----BEGIN CERT")[0]),
    ]
    found = [*ending([look(one) for one in files], 30, NOW)]
    assert [alarm.key.subject for alarm in found] == [str(absent), str(noise), str(key_only)]
    assert "No such file or directory" in found[0].detail
    assert "no certificate in PEM" in found[1].detail


def test_a_file_that_two_keys_name_is_one_alarm(tmp_path: Path) -> None:
    one = file(tmp_path / "ca.pem", pem(1))
    twice = [look(one), look(CertificateFile(INSTALLATION, "notifier.smtp.ca", one.path))]
    assert len([*ending(twice, 30, NOW)]) == 1
