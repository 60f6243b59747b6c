import errno
import logging
from http import HTTPStatus
from pathlib import Path

import pytest

from app.checkpoints.hub import Hub
from app.core.errors import ModelLoadError
from tests.unit.checkpoints.folders import files, safetensors_model
from tests.unit.checkpoints.hub_server import HubServer

REPO = "org/name"


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    """A hub that offers `org/name`."""
    server.repos[REPO] = safetensors_model(tmp_path / "source")
    return Hub(endpoint=server.url, cache_dir=tmp_path / "cache")


def refusal(hub: Hub, repo: str = REPO, revision: str | None = None) -> str:
    with pytest.raises(ModelLoadError) as caught:
        hub.download(repo, revision, ["*"])
    assert "http" not in caught.value.message.replace("https://huggingface.co/org/name", "")
    return caught.value.message


def test_only_the_wanted_files_are_downloaded(hub: Hub, server: HubServer) -> None:
    (server.repos[REPO] / "onnx").mkdir()
    (server.repos[REPO] / "onnx/config.json").write_text("{}")
    (server.repos[REPO] / "modeling.py").write_text("")
    folder = hub.download(REPO, None, ["*.json"], ["onnx/*"])
    assert files(folder) == {"config.json", "tokenizer_config.json"} == set(server.downloaded)


def test_no_token_is_sent_unless_there_is_one(hub: Hub, server: HubServer) -> None:
    hub.download(REPO, None, ["*"])
    assert server.seen_tokens == {""}


def test_offline_takes_what_was_downloaded_before(hub: Hub, server: HubServer, tmp_path: Path) -> None:
    online = hub.download(REPO, None, ["*"])
    server.seen_tokens.clear()
    offline = Hub(offline=True, endpoint=server.url, cache_dir=tmp_path / "cache")
    assert offline.download(REPO, None, ["*"]) == online
    assert server.seen_tokens == set(), "the hub was asked"


def test_offline_names_the_switch(tmp_path: Path) -> None:
    message = refusal(Hub(offline=True, cache_dir=tmp_path))
    assert "HF_HUB_OFFLINE=0" in message
    assert "put the files into the folder org/name/ under the models folder" in message


def test_an_incomplete_download_is_not_taken_offline(hub: Hub, tmp_path: Path) -> None:
    hub.download(REPO, None, ["*.json"])
    assert "nor completely in the hub's cache" in refusal(Hub(offline=True, cache_dir=tmp_path / "cache"))


def test_an_unreachable_hub_is_told(tmp_path: Path, server: HubServer) -> None:
    assert "cannot be reached" in refusal(Hub(endpoint="http://127.0.0.1:9", cache_dir=tmp_path))


def test_a_gated_repository_says_how_to_get_access(hub: Hub, server: HubServer) -> None:
    server.gated.add(REPO)
    message = refusal(hub)
    assert "accept its licence at https://huggingface.co/org/name" in message
    assert "set HF_TOKEN" in message


def test_the_right_token_opens_a_gated_repository(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.gated.add(REPO)
    folder = Hub(token=server.token, endpoint=server.url, cache_dir=tmp_path / "cache").download(REPO, None, ["*"])
    assert "model.safetensors" in files(folder)


def test_a_token_is_never_told(
    server: HubServer, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.gated.add(REPO)
    secret = "hf_another_secret"  # noqa: S105 - opens nothing
    message = refusal(Hub(token=secret, endpoint=server.url, cache_dir=tmp_path / "cache"))
    assert "HF_TOKEN does not open it" in message
    assert f"Bearer {secret}" in server.seen_tokens
    assert secret not in message + caplog.text + "".join(capfd.readouterr())


def test_an_unknown_repository_is_named(hub: Hub) -> None:
    assert refusal(hub, "org/other").startswith("There is no checkpoint org/other")


def test_an_unknown_revision_is_named(hub: Hub) -> None:
    assert "no revision v9" in refusal(hub, revision="v9")


@pytest.mark.parametrize("name", ["../name", "a/b/c", "org/na me", "", "org/" + "x" * 200])
def test_what_can_be_no_repository_is_refused(hub: Hub, name: str) -> None:
    assert "no model on the hub can be called so" in refusal(hub, name)


@pytest.mark.parametrize("status", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE])
def test_a_hub_in_trouble_is_told(hub: Hub, server: HubServer, status: HTTPStatus) -> None:
    server.status = status
    assert f"The model hub answered {status.value} when asked for org/name. Try again later" in refusal(hub)


def test_a_refused_token_is_told(hub: Hub, server: HubServer) -> None:
    server.status = HTTPStatus.UNAUTHORIZED
    assert "HF_TOKEN is missing or not valid" in refusal(hub)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (RuntimeError("native writer: No space left on device (os error 28)"), "The disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written to"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written to"),
        (RuntimeError("peer 10.0.0.1 left"), "failed (RuntimeError). Check the network"),
    ],
)
def test_other_trouble_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def snapshot_download(*arguments: object, **options: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    told = refusal(hub)
    assert message in told
    assert "10.0.0.1" not in told
