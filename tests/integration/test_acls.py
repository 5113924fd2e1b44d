"""A PACS on a broker with TLS, passwords, rules and quotas: deploy/kafka/secured.properties and docs/examples/kafka."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any, Final

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    ThrottleEvent,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from gateways import kafka_topics
from gateways.kafka import producer, publish
from schemas.topics import PARTITIONS, all_topics, topic_of
from sinsok.stack.kafka import kafka
from sinsok.stack.part import CHECKOUT, INSTALLED
from tests.integration import maven
from tests.stack import RunningPart, free_port
from tests.unit.schemas.examples import JOURNEY

pytestmark = pytest.mark.integration

EXAMPLE: Final = CHECKOUT / "docs" / "examples"
READABLE: Final = ("triage.results", "alerts.suwon")
KEYSTORE_PASSWORD: Final = "for-the-test"
TOOLS: Final = {"kafka-acls.sh": "org.apache.kafka.tools.AclCommand", "kafka-configs.sh": "kafka.admin.ConfigCommand"}


@dataclass(frozen=True)
class Secured:
    """A secured broker, with sinsok's events on it."""

    folder: Path
    internal: str
    clients: str

    def settings(self, name: str, target: str, password: str) -> Path:
        """The example settings of a client, with the places and the password of this broker."""
        text = (EXAMPLE / name).read_text(encoding="utf-8").replace("kafka.example.org:9094", self.clients)
        text = text.replace("change-me", password).replace("/etc/kafka/ca.pem", str(self.folder / "ca.pem"))
        path = self.folder / target
        path.write_text(text, encoding="utf-8")
        return path

    def pacs(self, **changes: str) -> dict[str, Any]:
        """What a client of the PACS on librdkafka is told."""
        lines = self.settings("python/secured.properties", "pacs.properties", "pacs-password").read_text().splitlines()
        told = dict(line.split("=", 1) for line in lines) | {name.replace("_", "."): v for name, v in changes.items()}
        return {name: value for name, value in told.items() if not name.startswith("group.")} | {"log_level": 0}

    def configure(self, *arguments: str) -> str:
        """What Kafka's own tool says of the user of the PACS."""
        admin = ("--bootstrap-server", self.clients, "--command-config", str(self.folder / "admin.properties"))
        return self.run("kafka-configs.sh", *admin, "--entity-type", "users", "--entity-name", "pacs-suwon", *arguments)

    def run(self, *command: str, password: str = "") -> str:
        """A script or a tool, with Kafka's own tools on its path as every distribution of Kafka has them."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, input=password, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    port, controller, clients = free_port(), free_port(), free_port()
    plain = kafka(folder, "127.0.0.1", port, controller)
    values = {"host": "127.0.0.1", "port": port, "controller_port": controller, "data": folder / "data"}
    values |= {"clients_host": "127.0.0.1", "clients_port": clients, "admin_password": "admin-password"}
    values |= {"keystore": folder / "broker.p12", "keystore_password": KEYSTORE_PASSWORD, "ca": folder / "ca.pem"}

    def prepare() -> None:
        certify(folder)
        text = Template((CHECKOUT / "deploy" / "kafka" / "secured.properties").read_text(encoding="utf-8"))
        properties = folder / "kafka" / "server.properties"
        properties.parent.mkdir()
        properties.write_text(text.substitute(values), encoding="utf-8")
        java = plain.command[: plain.command.index("kafka.Kafka")]
        scram = "SCRAM-SHA-512=[name=admin,password=admin-password]"
        tool = ("kafka.tools.StorageTool", "format", "-t", "s" * 22, "-c", str(properties), "--add-scram", scram)
        subprocess.run([*java, *tool], check=True, capture_output=True, timeout=60)

    install_tools(folder / "bin")
    with RunningPart(replace(plain, prepare=prepare), folder / "kafka.log"):
        broker = Secured(folder, f"127.0.0.1:{port}", f"127.0.0.1:{clients}")
        admin = str(broker.settings("kafka/admin.properties", "admin.properties", "admin-password"))
        broker.run(str(EXAMPLE / "kafka" / "allow-sinsok.sh"), broker.clients, admin, "127.0.0.1")
        kafka_topics.create(broker.internal, all_topics(["suwon", "anseong"]))
        writer = producer(broker.internal)
        for event in JOURNEY:
            publish(writer, topic_of(event), event)
        allow = str(EXAMPLE / "kafka" / "allow-pacs.sh")
        broker.run(allow, broker.clients, admin, "suwon", password="pacs-password\n")
        yield broker


def certify(folder: Path) -> None:
    """A certificate that the broker signs itself, and its public part for those who have to trust it."""
    common = ("-alias", "broker", "-keystore", str(folder / "broker.p12"), "-storepass", KEYSTORE_PASSWORD)
    made = ("-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1", "-validity", "2")
    subprocess.run(["keytool", *made, "-storetype", "PKCS12", *common], check=True, capture_output=True)
    told = ("-exportcert", "-rfc", "-file", str(folder / "ca.pem"))
    subprocess.run(["keytool", *told, *common], check=True, capture_output=True)


def install_tools(folder: Path) -> None:
    folder.mkdir()
    jars = f"{INSTALLED}/kafka/libs/*:{maven.jar('org.apache.kafka:kafka-tools:4.1.1')}/*"
    logging = f"-Dlog4j2.configurationFile={CHECKOUT}/deploy/kafka/log4j2.properties"
    for name, tool in TOOLS.items():
        script = f"#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 {logging} -cp '{jars}' {tool} \"$@\"\n"
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def read_one(settings: dict[str, Any], group: str, topic: str) -> Any:
    """The first message of a topic. Raises what the broker answers."""
    consumer = Consumer(settings | {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(30)
        assert message is not None, "neither a message nor an error"
        if message.error():
            raise KafkaException(message.error())
        consumer.commit(asynchronous=False)
        return message
    finally:
        consumer.close()


@pytest.mark.parametrize("topic", READABLE)
def test_results_and_alerts_of_the_own_site_are_read_and_their_offsets_committed(secured: Secured, topic: str) -> None:
    assert read_one(secured.pacs(), f"pacs-suwon-{topic}", topic).topic() == topic


@pytest.mark.parametrize("language", ["python", "java"])
def test_the_examples_read_with_the_documented_settings(secured: Secured, language: str) -> None:
    settings = secured.settings(f"{language}/secured.properties", f"{language}.properties", "pacs-password")
    settings.write_text(settings.read_text().replace("-worklist", f"-{language}"))
    if language == "python":
        command = [sys.executable, str(EXAMPLE / "python" / "consume.py")]
    else:
        target = maven.package(EXAMPLE / "java")
        command = ["java", "-cp", f"{target}/classes:{target}/lib/*", "sinsok.examples.Consume"]
    arguments = (str(settings), str(CHECKOUT / "schemas" / "json"), str(secured.folder / language), *READABLE)
    wanted = {str(event.event_id) for event in JOURNEY if topic_of(event) in READABLE}
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as read:
        assert read.stdout is not None
        seen = {read.stdout.readline().split()[2] for _ in wanted}
        read.kill()
    assert seen == wanted


@pytest.mark.parametrize("topic", ["alerts.anseong", "triage.studies", "dicom.series", "pacs.deliveries"])
def test_nothing_else_is_read(secured: Secured, topic: str) -> None:
    with pytest.raises(KafkaException) as refusal:
        read_one(secured.pacs(), "pacs-suwon-curious", topic)
    assert refusal.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_other_topics_are_not_even_listed(secured: Secured) -> None:
    admin = AdminClient(secured.pacs())
    assert admin.list_topics(timeout=120).topics.keys() == {*READABLE}


@pytest.mark.parametrize("group", ["pacs-anseong-worklist", "sinsok-infer", "pacs-suwon"])
def test_no_other_group_is_joined(secured: Secured, group: str) -> None:
    with pytest.raises(KafkaException) as refusal:
        read_one(secured.pacs(), group, "triage.results")
    assert refusal.value.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED


@pytest.mark.parametrize("topic", [*READABLE, "alerts.anseong", "triage.studies"])
def test_nothing_is_written(secured: Secured, topic: str) -> None:
    answers: list[KafkaError] = []
    writer = Producer(secured.pacs())
    writer.produce(topic, b"{}", on_delivery=lambda error, _: answers.append(error))
    assert writer.flush(30) == 0
    assert [answer.code() for answer in answers] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_no_topic_is_made_or_deleted(secured: Secured) -> None:
    admin = AdminClient(secured.pacs())
    answers = [admin.create_topics([NewTopic("pacs.own", 1)])["pacs.own"], admin.delete_topics(["triage.results"])]
    for answer in (answers[0], answers[1]["triage.results"]):
        with pytest.raises(KafkaException) as refusal:
            answer.result(30)
        assert refusal.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_wrong_password_is_refused(secured: Secured) -> None:
    errors: list[KafkaError] = []
    stranger = Producer(secured.pacs(sasl_password="guessed") | {"error_cb": errors.append})
    assert stranger.poll(30) > 0
    assert errors[0].code() == KafkaError._AUTHENTICATION


def test_sinsoks_own_listener_changes_no_rules(secured: Secured) -> None:
    """It has written all events, and created their topics; a way around the rules it is not."""
    rule = AclBinding(
        ResourceType.TOPIC,
        "alerts.anseong",
        ResourcePatternType.LITERAL,
        "User:pacs-suwon",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    sinsok = AdminClient({"bootstrap.servers": secured.internal})
    answer = sinsok.create_acls([rule])[rule]
    with pytest.raises(KafkaException) as refusal:
        answer.result(30)
    assert refusal.value.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED


def test_the_quota_is_set(secured: Secured) -> None:
    told = secured.configure("--describe")
    assert "consumer_byte_rate=2000000.0" in told
    assert "request_percentage=20.0" in told
    assert "SCRAM-SHA-512=iterations" in told


def test_who_reads_more_than_its_quota_is_slowed_and_not_cut_off(secured: Secured) -> None:
    secured.configure("--alter", "--add-config", "consumer_byte_rate=1000")
    throttled: list[ThrottleEvent] = []
    consumer = Consumer(secured.pacs() | {"group.id": "pacs-suwon-greedy", "throttle_cb": throttled.append})
    everything = [TopicPartition("triage.results", number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
    while not throttled:
        consumer.assign(everything)
        consumer.poll(1)
    consumer.assign(everything)
    message = consumer.poll(60)
    assert message is not None
    assert message.error() is None
    consumer.close()
