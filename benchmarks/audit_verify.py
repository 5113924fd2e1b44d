"""How long `sinsok audit verify` takes for a long trail, beside a bare consumer that reads the same topic.

The records are those of the auditor: four chains, canonical JSON, a signed checkpoint after every thousand. Both read
all of them in the same run; the peer does nothing but count.

    python benchmarks/audit_verify.py [--records 1000000]
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

CHECKOUT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from gateways import kafka  # noqa: E402
from gateways.audit import keys  # noqa: E402
from gateways.audit.account import Account  # noqa: E402
from gateways.audit.chain import Chain  # noqa: E402
from gateways.audit.head import Heads  # noqa: E402
from schemas.audit import INSTALLATION, Origin  # noqa: E402
from schemas.topics import AUDIT_TRAIL, PARTITIONS  # noqa: E402
from sinsok.auditing import heads, key_place  # noqa: E402
from tests.stack import Installation, install  # noqa: E402


def told(number: int, time: datetime) -> Account:
    """What the trail says of a step of a hop."""
    return Account(
        time=time,
        type="sinsok.StepTaken.v1",
        event_id=None,
        study=f"{number:064x}",
        who="assemble",
        what=f"assemble, dicom.series/{number % PARTITIONS}/{number}: 2 events sent, its state changed",
        where=Origin(topic="triage.steps", partition=number % PARTITIONS, offset=number),
        digest=f"sha256:{number:064x}",
    )


def write(installation: Installation, records: int) -> None:
    """Chains with so many events together, their heads and their key."""
    settings = installation.settings
    signer, files = keys.create(key_place(settings)), heads(settings)
    names = [*settings.sites, INSTALLATION]
    producer = kafka.producer(settings.kafka.bootstrap_servers)
    for name in names:
        write_chain(Chain.begin(name), signer, files, producer, records // len(names))


def write_chain(chain: Chain, signer: keys.Signer, files: Heads, producer: Producer, records: int) -> None:
    now, key = datetime.now(UTC), chain.name.encode()
    producer.produce(AUDIT_TRAIL.name, chain.checkpoint(signer, now).value, key)
    for number in range(records):
        producer.produce(AUDIT_TRAIL.name, chain.append(told(number, now)).value, key)
        if len(chain.unsigned) == 1000:
            producer.produce(AUDIT_TRAIL.name, chain.checkpoint(signer, now).value, key)
            producer.flush()
    producer.flush()
    files.write(chain.head(None, 0), signer)


def consume(bootstrap: str) -> tuple[int, float]:
    """Records read by the peer, and seconds."""
    with kafka.reader(bootstrap) as asked:
        spans = kafka.spans(asked, bootstrap, [AUDIT_TRAIL.name])
    expected, read = sum(high - low for low, high in spans.values()), 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "peer", "enable.auto.commit": False})
    began = time.perf_counter()
    consumer.assign([TopicPartition(*place, 0) for place in spans])
    while read < expected:
        read += len(consumer.consume(10_000, timeout=0.5))
    seconds = time.perf_counter() - began
    consumer.close()
    return read, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    records: int = parser.parse_args().records
    with tempfile.TemporaryDirectory() as scratch:
        installation = install(Path(scratch))
        with installation.part("kafka"):
            began = time.perf_counter()
            write(installation, records)
            print(f"written in {time.perf_counter() - began:.1f} s", flush=True)
            read, peer_s = consume(installation.settings.kafka.bootstrap_servers)
            began = time.perf_counter()
            verified = installation.sinsok("audit", "verify", timeout_s=600)
            ours_s = time.perf_counter() - began
            if verified.returncode != 0:
                sys.exit(verified.stdout + verified.stderr)
    print(f"{'':>14} {'records':>9} {'seconds':>8} {'of the peer':>12}")
    print(f"{'bare consumer':>14} {read:>9} {peer_s:>8.1f} {1:>12.2f}")
    print(f"{'audit verify':>14} {read:>9} {ours_s:>8.1f} {ours_s / peer_s:>12.2f}")


if __name__ == "__main__":
    main()
