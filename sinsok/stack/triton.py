"""Triton Inference Server on the CPU: the binary of the nvidia-pytriton wheel, with its python backend."""

import hashlib
from pathlib import Path

from gateways.inference.repository import missing_files, models, versions
from schemas.failures import Unreadable
from sinsok.stack import probe
from sinsok.stack.part import INSTALLED, Listener, NotInstalled, NotReady, Part

_VENV = INSTALLED / "triton-venv"
_PACKAGES = _VENV / "lib" / "python3.11" / "site-packages"
_SERVER = _PACKAGES / "pytriton" / "tritonserver"
_STUB = _SERVER / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"


def triton(home: Path, repository: Path, host: str, http_port: int, grpc_port: int, metrics_port: int) -> Part:
    """The server, with the installed models of ``repository`` in their CPU configuration.

    What is installed later is loaded by the next start.
    """
    asked: list[tuple[str, str]] = []
    backends = home / "triton" / "backends"
    http = f"{host}:{http_port}"
    memory = f"sinsok_{hashlib.sha256(str(home).encode()).hexdigest()[:12]}_"

    def prepare() -> None:
        if not _STUB.exists():
            raise NotInstalled(f"Triton is missing in {_VENV}; run `make setup`")
        if not repository.is_dir():
            raise NotInstalled(f"the model repository {repository} is missing; model_repository names it")
        # The wheel keeps the backend and the stub for each Python apart; Triton wants them in one folder.
        python = backends / "python"
        python.mkdir(parents=True, exist_ok=True)
        for source in (*(_SERVER / "backends" / "python").iterdir(), _STUB):
            link = python / source.name
            if not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(source)

        # A killed server leaves its shared memory behind.
        for region in Path("/dev/shm").glob(f"{memory}*"):  # noqa: S108 - the kernel's place for it
            region.unlink(missing_ok=True)

    def alive() -> None:
        probe.get(http, "/v2/health/live")

    def load() -> tuple[str, ...]:
        served = installed(repository)
        asked[:] = _versions(served)
        return tuple(f"--load-model={model.name}" for model in served)

    def ready() -> None:
        alive()
        _all_ready(http, asked)

    return Part(
        name="triton",
        command=(
            str(_SERVER / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            "--model-config-name=cpu",
            "--model-control-mode=explicit",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={memory}",
            # A model that does not load is reported by `ready`; it must not take the others down.
            "--exit-on-error=false",
            "--exit-timeout-secs=10",
            *(f"--{service}-address={host}" for service in ("http", "grpc", "metrics")),
            f"--http-port={http_port}",
            f"--grpc-port={grpc_port}",
            f"--metrics-port={metrics_port}",
        ),
        # Nothing of our own environment: models run with the packages of Triton's venv and no others.
        environment={
            "PATH": f"{_VENV / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(_PACKAGES),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(_PACKAGES / "nvidia_pytriton.libs"),
            "HOME": str(home),
            "LANG": "C.UTF-8",
        },
        endpoint=f"{host}:{grpc_port}",
        listeners=(
            Listener(host, http_port, "triton.http_url"),
            Listener(host, grpc_port, "triton.grpc_url"),
            Listener(host, metrics_port, "triton.metrics_url"),
        ),
        arguments=load,
        prepare=prepare,
        ready=ready,
        alive=alive,
        grace_s=20.0,
    )


def installed(repository: Path) -> list[Path]:
    """Folders of the models that have all files they need to run."""
    return [model for model in models(repository) if _is_complete(model)]


def models_ready(http: str, repository: Path) -> None:
    """Ask for every version of every installed model. Raises :class:`NotReady` naming the first that cannot serve."""
    _all_ready(http, _versions(installed(repository)))


def _versions(served: list[Path]) -> list[tuple[str, str]]:
    return [(model.name, version) for model in served for version in versions(model)]


def _all_ready(http: str, asked: list[tuple[str, str]]) -> None:
    for model, version in asked:
        try:
            probe.get(http, f"/v2/models/{model}/versions/{version}/ready")
        except NotReady:
            raise NotReady(f"Triton at {http} does not serve model {model} version {version}") from None


def _is_complete(model: Path) -> bool:
    try:
        return not any(missing_files(model, version) for version in versions(model))
    except Unreadable:
        # Triton says what is wrong with its configuration, and `sinsok models check` too.
        return True
