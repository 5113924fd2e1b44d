"""What docker-compose.yml, the dashboards and the rules name exists: commands, ports, files, variables, metrics."""

import functools
import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import prometheus_client
import pytest
import yaml

import gateways.metrics  # noqa: F401 - fills the registry
import streams.metrics  # noqa: F401
from gateways.console.settings import ConsoleSettings
from gateways.delivery.settings import WriterSettings
from gateways.dicom.settings import DicomGatewaySettings
from sinsok.cli import cli
from sinsok.commands.run import ROLES
from sinsok.settings import Settings, load
from sinsok.stack.processes import PROCESSES

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
OTHERS_PORTS: Final = {
    "kafka": {9092},
    "triton": {8000, 8001, 8002},
    "orthanc": {4242, 8042},
    "prometheus": {9090},
    "grafana": {3000},
}
"""Ports of images that are not ours, as their own documentation gives them."""
ENDPOINT: Final = "SINSOK_TRACES__ENDPOINT"


@functools.cache
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def ours() -> dict[str, Any]:
    return {name: service for name, service in services().items() if service["image"].startswith("sinsok:")}


def health_port(name: str) -> int:
    return int(services()[name]["environment"]["SINSOK_HEALTH__FIRST_PORT"]) + list(PROCESSES).index(name)


def test_docker_compose_accepts_the_file() -> None:
    accepted = subprocess.run(
        ["docker-compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (accepted.returncode, accepted.stderr) == (0, "")


def test_it_is_the_stack_of_sinsok_up() -> None:
    assert set(services()) == {"topics", "kafka", "triton", "orthanc", "prometheus", "grafana", *PROCESSES}
    assert set(ours()) == {"topics", *PROCESSES}
    for name, arguments in PROCESSES.items():
        assert services()[name]["command"] == ["run", *arguments]


@pytest.mark.parametrize("name", sorted(ours()))
def test_commands_resolve(name: str) -> None:
    words = list(services()[name]["command"])
    command: click.Command = cli
    with click.Context(cli) as context:
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None
            command = found
        parsed = command.make_context(name, words, resilient_parsing=False).params
    if "role" in parsed:
        assert parsed["role"] in ROLES


@pytest.mark.parametrize("name", sorted(ours()))
def test_variables_are_settings(name: str) -> None:
    environment: dict[str, str | None] = services()[name]["environment"]
    given = {variable: value for variable, value in environment.items() if value is not None}
    settings = load({"SINSOK_CONFIG": str(ROOT / "sinsok.toml")} | given)
    for variable in environment:
        if not variable.startswith("SINSOK_"):
            assert variable in {"KAFKA_BOOTSTRAP_SERVERS", "TRITON_URL"}
            continue
        model: Any = Settings
        for key in variable.removeprefix("SINSOK_").lower().split("__"):
            assert key in model.model_fields, variable
            model = model.model_fields[key].annotation
    assert settings.kafka.bootstrap_servers == "kafka:29092"
    assert settings.triton.grpc_url == "triton:8001"


@pytest.mark.parametrize("endpoint", [None, "http://collector:4318/v1/traces"])
def test_every_process_knows_of_the_tracer_where_there_is_one(endpoint: str | None, tmp_path: Path) -> None:
    """A variable without a value is passed on where .env or the shell sets it, and else not at all."""
    file = tmp_path / ".env"
    file.write_text(f"{ENDPOINT}={endpoint}\n" if endpoint else "", encoding="utf-8")
    resolved = subprocess.run(
        [
            *("docker-compose", "--file", str(ROOT / "docker-compose.yml"), "--env-file", str(file)),
            *("--profile", "traces", "config"),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != ENDPOINT},
        capture_output=True,
        text=True,
        check=True,
    )
    environments = [yaml.safe_load(resolved.stdout)["services"][name]["environment"] for name in PROCESSES]

    assert [one.get(ENDPOINT) for one in environments] == [endpoint] * len(PROCESSES)


@pytest.mark.parametrize("name", sorted(services()))
def test_published_ports_are_the_services_own_and_on_this_machine_only(name: str) -> None:
    published = [port.split(":") for port in services()[name].get("ports", [])]
    own = OTHERS_PORTS.get(name) or ({health_port(name)} if name in PROCESSES else set())
    if name == "pacs-writer":
        own = {*own, WriterSettings().port, int(services()[name]["environment"]["SINSOK_WRITER__PORT"])}
    if name == "console":
        own = {*own, ConsoleSettings().port}
    if name == "dicom-gateway":
        own = {*own, DicomGatewaySettings().port, int(services()[name]["environment"]["SINSOK_DICOM__PORT"])}

    assert {host for host, _, _ in published} <= {"127.0.0.1"}
    assert {int(inside) for _, _, inside in published} == own
    assert all(outside == inside for _, outside, inside in published)


def test_addresses_between_services_exist() -> None:
    addresses = {
        value
        for service in ours().values()
        for value in service["environment"].values()
        if value is not None and re.fullmatch(r"[a-z][a-z-]*:\d+", value)
    }
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        target for job in jobs for group in job.get("static_configs", ()) for target in group["targets"]
    } | {  # what runs for some only is asked for by name
        f"{name}:{group['port']}" for job in jobs for group in job.get("dns_sd_configs", ()) for name in group["names"]
    }
    grafana = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    addresses |= targets | {source["url"].removeprefix("http://") for source in grafana["datasources"]}

    listeners = services()["kafka"]["environment"]["KAFKA_LISTENERS"]
    ports = OTHERS_PORTS | {name: {health_port(name)} for name in PROCESSES}
    ports["kafka"] = {int(port) for port in re.findall(r":(\d+)", listeners)}
    for address in addresses:
        host, port = address.split(":")
        assert int(port) in ports[host], address
    assert {target for target in targets if not target.startswith("triton")} == {
        f"{name}:{health_port(name)}" for name in PROCESSES
    }


def test_orthanc_can_send_to_every_site_and_answer_the_writer() -> None:
    settings = load({"SINSOK_CONFIG": str(ROOT / "sinsok.toml")})
    modalities = json.loads((DEPLOY / "orthanc" / "compose.json").read_text())["DicomModalities"]

    gateway = {
        site.called_ae: [site.called_ae, "dicom-gateway", settings.dicom.port] for site in settings.sites.values()
    }
    assert modalities == gateway | {settings.writer.aet: [settings.writer.aet, "pacs-writer", settings.writer.port]}


def test_mounted_files_and_volumes_exist() -> None:
    for name, service in services().items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose()["volumes"], (name, mount)


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "deploy/triton/Dockerfile"])
def test_copied_files_exist_and_reach_the_build(dockerfile: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = (ROOT / dockerfile).read_text().replace("\\\n", " ").splitlines()
    copies = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]

    assert copies
    for source in (source for sources in copies for source in sources):
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, source


def test_triton_is_told_to_load_every_model_of_the_repository() -> None:
    command = services()["triton"]["command"]
    told = {word.removeprefix("--load-model=") for word in command if word.startswith("--load-model=")}

    assert {"--model-control-mode=explicit", "--exit-on-error=false"} <= set(command)
    assert told == {path.name for path in (ROOT / "triton_models").iterdir() if path.is_dir()}


def test_every_dockerfile_is_used() -> None:
    builds = [service["build"] for service in services().values() if "build" in service]

    assert {build if isinstance(build, str) else build["dockerfile"] for build in builds} == {
        ".",
        "deploy/triton/Dockerfile",
    }


@pytest.mark.parametrize("name", sorted(services()))
def test_services_are_confined_and_watched(name: str) -> None:
    service = services()[name]

    assert "privileged" not in service
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r":v?\d", service["image"]), "images are pinned by tag"
    if name != "topics":
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service


def test_our_health_checks_ask_our_ports() -> None:
    for name in PROCESSES:
        assert f"localhost:{health_port(name)}/healthz" in services()[name]["healthcheck"]["test"][-1]


def test_our_image_has_the_projects_version_and_no_root() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert {service["image"] for service in ours().values()} == {f"sinsok:{version}"}
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["sinsok"]
    assert "PYTHONSAFEPATH=1" in dockerfile
    assert dockerfile.count("--require-hashes") == dockerfile.count("pip install") - 1


def known_metrics() -> set[str]:
    return {
        sample
        for family in prometheus_client.REGISTRY.collect()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }


@pytest.mark.parametrize("path", ["prometheus/rules.yml", "grafana/dashboards/sinsok.json"])
def test_rules_and_dashboards_use_metrics_that_exist(path: str) -> None:
    document = yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))
    if "panels" in document:
        expressions = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    else:
        expressions = [rule["expr"] for group in document["groups"] for rule in group["rules"]]
    used = {name for expression in expressions for name in re.findall(r"\bsinsok_\w+", expression)}

    assert used
    assert used <= known_metrics()


def test_the_dashboard_uses_the_provisioned_data_source() -> None:
    source = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "sinsok.json").read_text())
    provider = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "dashboards" / "sinsok.yml").read_text())

    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["datasources"][0]["uid"]}
    mounts = [mount.split(":")[1] for mount in services()["grafana"]["volumes"]]
    assert provider["providers"][0]["options"]["path"] in mounts
    assert services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(
        provider["providers"][0]["options"]["path"]
    )
