"""Apache Kafka in KRaft mode: one node that is broker and controller."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Final

from confluent_kafka import KafkaException, Producer

from sinsok.stack import probe
from sinsok.stack.part import CHECKOUT, INSTALLED, Listener, NotInstalled, NotReady, Part

_CONFIGURATION = CHECKOUT / "deploy" / "kafka"
_JARS = INSTALLED / "kafka" / "libs"
CLASSES: Final = INSTALLED / "kafka" / "classes.jsa"
"""Classes as the JVM keeps them in memory (JEP 350), made by :mod:`sinsok.stack.kafka_classes`; it does without too."""
USE_CLASSES: Final = f"-XX:SharedArchiveFile={CLASSES}"
# A small heap, and no optimising compiler: half the processor time to get ready, and events are few here.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", USE_CLASSES)


def kafka(
    home: Path, host: str, port: int, controller_port: int, *, once_ready: Callable[[], None] = lambda: None
) -> Part:
    """The broker, with its log segments in ``home/kafka/data``. ``once_ready`` creates the topics."""
    folder = home / "kafka"
    properties = folder / "server.properties"
    java = ("java", *_JVM, "-cp", f"{_JARS}/*", f"-Dlog4j2.configurationFile={_CONFIGURATION / 'log4j2.properties'}")

    def prepare() -> None:
        if shutil.which("java") is None or not any(_JARS.glob("kafka_*.jar")):
            raise NotInstalled("Java or the jars of Kafka are missing; run `make setup`")
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        template = Template((_CONFIGURATION / "server.properties").read_text(encoding="utf-8"))
        properties.write_text(
            template.substitute(host=host, port=port, controller_port=controller_port, data=data), encoding="utf-8"
        )
        if (data / "meta.properties").exists():
            return
        # No leading dash: the tool would take the id for an option.
        cluster = "s" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:21]
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--ignore-formatted")
        subprocess.run([*java, *tool], check=True, capture_output=True, text=True, timeout=60)

    def ready() -> None:
        probe.connect(host, port)
        answering(f"{host}:{port}")

    return Part(
        name="kafka",
        command=(*java, "kafka.Kafka", str(properties)),
        endpoint=f"{host}:{port}",
        listeners=(
            Listener(host, port, "kafka.bootstrap_servers"),
            Listener(host, controller_port, "kafka.controller_port"),
        ),
        prepare=prepare,
        ready=ready,
        alive=ready,
        once_ready=once_ready,
        grace_s=30.0,
    )


def answering(bootstrap_servers: str, *, timeout_s: float = 3.0) -> None:
    """Ask the cluster for its members and topics. Raises :class:`NotReady` when it does not answer."""
    client = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        cluster = client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise NotReady(f"Kafka at {bootstrap_servers} does not answer ({error.args[0].str()})") from None
    if cluster.controller_id < 0 or not cluster.brokers:
        raise NotReady(f"Kafka at {bootstrap_servers} has no controller yet")
