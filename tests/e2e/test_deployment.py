"""What can be proved of the Docker files without a Docker engine.

The CPU image is built for real, though into a folder: its COPYs copy and its setup step runs, in an environment of its
own, and its start command serves.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from app.settings import Settings
from scripts.setup import MIN_PYTHON, parse_arguments
from tests.e2e.dockerfile import Instruction, environment, is_ignored, last_stage, read_dockerfile, values

REPO = Path(__file__).resolve().parents[2]
DOCKERFILES = {"api-cpu": "Dockerfile.cpu", "api-gpu": "Dockerfile.gpu"}
PORTS = {"api-cpu": "7001", "api-gpu": "7002"}
COMPOSE = yaml.safe_load((REPO / "docker-compose.yml").read_text())
STARTS_WITHIN_S = 60

services = pytest.mark.parametrize("service", DOCKERFILES)


def instructions_of(service: str) -> list[Instruction]:
    return read_dockerfile(REPO / DOCKERFILES[service])


def tracked_files() -> set[str]:
    if not (REPO / ".git").exists() or not shutil.which("git"):
        return {str(file.relative_to(REPO)) for file in REPO.rglob("*") if file.is_file()}
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    return set(done.stdout.split("\0"))


def copies(instructions: list[Instruction]) -> list[tuple[list[str], str]]:
    """Sources and target of each COPY from the repository."""
    found = [i for i in instructions if i.name == "COPY" and "from" not in i.options]
    return [(copy.words[:-1], copy.words[-1]) for copy in found]


def setup_commands(instructions: list[Instruction]) -> list[list[str]]:
    """The runs of the setup script, as words from `python3` on."""
    runs = [i.words for i in instructions if i.name == "RUN" and "scripts.setup" in i.words]
    return [words[words.index("python3") :] for words in runs]


@services
def test_every_copied_file_is_in_git_and_in_the_build(service: str) -> None:
    tracked = tracked_files()
    sources = [source for sources, _ in copies(instructions_of(service)) for source in sources]
    assert sources
    for source in sources:
        assert any(file == source or file.startswith(f"{source}/") for file in tracked), f"{source} is not in git"
        assert not is_ignored(source, REPO / ".dockerignore"), f"{source} is in .dockerignore"


@pytest.mark.parametrize(
    "path", [".env", ".venv/bin/python", "models/a/model.safetensors", ".git/config", "tests/x.py"]
)
def test_secrets_and_large_files_stay_out_of_the_build(path: str) -> None:
    assert is_ignored(path, REPO / ".dockerignore")


def test_compiled_files_stay_out_of_the_build() -> None:
    assert is_ignored("app/core/__pycache__/types.pyc", REPO / ".dockerignore")
    assert not is_ignored("app/core/types.py", REPO / ".dockerignore")


@services
def test_run_steps_are_shell_that_parses_and_options_that_exist(service: str) -> None:
    instructions = instructions_of(service)
    for value in values(instructions, "RUN"):
        script = " ".join(word for word in value.split(" ") if not word.startswith("--mount"))
        subprocess.run(["sh", "-n", "-c", script], check=True)
    setups = [parse_arguments(command[3:]) for command in setup_commands(instructions)]
    assert {options.torch for options in setups} == {"cpu" if service == "api-cpu" else "cuda"}
    assert any(options.gpu for options in setups) == (service == "api-gpu")


@services
def test_the_server_is_not_root_and_owns_its_folders(service: str) -> None:
    image = last_stage(instructions_of(service))
    (user,) = values(image, "USER")
    (making,) = [value for value in values(image, "RUN") if "useradd" in value]
    assert user in shlex.split(making)
    assert user not in ("root", "0")
    assert f"chown {user} {environment(image)['HF_HOME']} models" in making


@services
def test_compose_and_dockerfile_agree(service: str) -> None:
    entry, image = COMPOSE["services"][service], last_stage(instructions_of(service))
    variables = environment(image)
    (folder,) = values(image, "WORKDIR")
    (exposed,) = values(image, "EXPOSE")
    (check,) = [i for i in image if i.name == "HEALTHCHECK"]
    assert entry["build"] == {"context": ".", "dockerfile": DOCKERFILES[service]}
    assert entry["ports"] == [f"{PORTS[service]}:{exposed}"]
    assert variables["PORT"] == entry["environment"]["PORT"] == exposed
    assert variables["HOST"] == entry["environment"]["HOST"] == "0.0.0.0"
    assert entry["volumes"] == ["hf-cache:/data/hf-cache", f"./models:{folder}/models"]
    assert variables["HF_HOME"] == "/data/hf-cache"
    assert entry["healthcheck"]["test"] == ["CMD", *check.command]


def test_compose_declares_its_volume_and_passes_the_key_on() -> None:
    assert set(COMPOSE["services"]) == set(DOCKERFILES)
    assert set(COMPOSE["volumes"]) == {"hf-cache"}
    for service in COMPOSE["services"].values():
        unset = {name for name, value in service["environment"].items() if value is None}
        assert {"API_KEY", "HF_TOKEN", "MODELS_FILE"} <= unset, "Compose takes them from the shell"
        assert {name.lower() for name in service["environment"]} <= set(Settings.model_fields)


def test_compose_waits_for_accepted_requests() -> None:
    for service in COMPOSE["services"].values():
        grace_s = int(service["stop_grace_period"].removesuffix("s"))
        assert grace_s > Settings.model_fields["graceful_shutdown_s"].default


def test_only_the_gpu_service_asks_for_a_gpu() -> None:
    (device,) = COMPOSE["services"]["api-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "deploy" not in COMPOSE["services"]["api-cpu"]


def test_the_cpu_image_has_a_python_that_is_new_enough() -> None:
    (base,) = values(instructions_of("api-cpu"), "FROM")
    version = base.removeprefix("python:").removesuffix("-slim")
    assert tuple(map(int, version.split("."))) >= MIN_PYTHON


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The CPU image's working folder. Over a gigabyte, so it does not stay among pytest's folders."""
    instructions = instructions_of("api-cpu")
    with tempfile.TemporaryDirectory(prefix="manyvec-image-") as name:
        root = Path(name).resolve()
        for instruction in instructions:
            if instruction.name == "COPY":
                copy(instruction, root)
            for command in setup_commands([instruction]):
                subprocess.run([sys.executable, *command[1:]], cwd=root, check=True)
        yield root


def copy(instruction: Instruction, root: Path) -> None:
    """Copy what git has of the sources, as a build in an empty clone would."""
    ((sources, target),) = copies([instruction])
    for file in tracked_files():
        source = next((source for source in sources if file == source or file.startswith(f"{source}/")), None)
        if source and not is_ignored(file, REPO / ".dockerignore"):
            inside = Path(file).relative_to(source) if file != source else Path(file).name
            (root / target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / file, root / target / inside)


@contextmanager
def container(root: Path, **variables: str) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """Run the image's CMD with its ENV, though on a free port of this machine only; stop it as Docker does."""
    image = last_stage(instructions_of("api-cpu"))
    (command,) = [i.command for i in image if i.name == "CMD"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    overridden = {"HOST": "127.0.0.1", "PORT": port, "HF_HOME": str(root / "hf-cache"), "HF_HUB_OFFLINE": "1"}
    variables = inherited | environment(image) | overridden | variables
    process = subprocess.Popen(command, cwd=root, env=variables)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until_healthy(client, process)
            yield client, variables
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def wait_until_healthy(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            assert client.get("/health").status_code == 200
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the start command does not serve")


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_cpu_image_serves_the_real_models_by_default(image: Path) -> None:
    check = next(i.command for i in instructions_of("api-cpu") if i.name == "HEALTHCHECK")
    with container(image) as (client, variables):
        assert client.get("/health").json()["status"] == "healthy"
        names = {model["id"] for model in client.get("/v1/models").json()["data"]}
        assert {"multilingual-e5-large", "bge-m3", "colqwen2.5-v0.2"} <= names
        subprocess.run(check, cwd=image, env=variables, check=True)
    assert subprocess.run(check, cwd=image, env=variables, check=False).returncode == 1


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_cpu_image_has_all_that_its_models_need(image: Path) -> None:
    starter = {"MODELS_FILE": "starter.toml", "OMP_NUM_THREADS": "1"}
    # As the volume brings them.
    shutil.copytree(REPO / "models/starter", image / "models/starter")
    page = (REPO / "examples/page.png").read_bytes()
    with container(image, **starter) as (client, _):
        for model in client.get("/v1/models").json()["data"]:
            loaded = client.post(f"/models/{model['id']}/load")
            assert loaded.json()["state"] == "ready", loaded.text
        form = {"query": "cargo", "token_idx": "0"}
        heatmap = client.post("/query/single/heatmap", data=form, files={"file": page})
        assert heatmap.headers["content-type"] == "image/png"
