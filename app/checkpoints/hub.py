"""The Hugging Face hub, and what its errors mean to whoever runs the server."""

import errno
import logging
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import huggingface_hub
from huggingface_hub import errors

from app.checkpoints import disk
from app.core.errors import ModelLoadError

log = logging.getLogger(__name__)


class Hub:
    """Downloads checkpoints into the hub library's cache; what is there already is not downloaded again."""

    def __init__(
        self,
        token: str | None = None,
        offline: bool = False,
        endpoint: str | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """None leaves a value to the hub library: `HF_ENDPOINT`, `HF_HUB_CACHE`, the token of `hf auth login`."""
        self._token = token
        self._offline = offline
        self._endpoint = endpoint
        self._cache_dir = cache_dir

    def download(self, repo: str, revision: str | None, allow: Sequence[str], ignore: Sequence[str] = ()) -> Path:
        """Folder with the repository's files that match `allow` and not `ignore` (shell patterns, `*` matches `/`).

        Offline it is what the cache holds. Raises `ModelLoadError` that says what to do.
        """
        log.info("looking for %s on the model hub", repo)
        try:
            return Path(
                huggingface_hub.snapshot_download(
                    repo,
                    revision=revision,
                    allow_patterns=list(allow),
                    ignore_patterns=list(ignore),
                    token=self._token,
                    local_files_only=self._offline,
                    endpoint=self._endpoint,
                    cache_dir=self._cache_dir,
                )
            )
        except Exception as error:
            raise ModelLoadError(self._advice(error, repo, revision)) from error

    def _advice(self, error: Exception, repo: str, revision: str | None) -> str:
        """What happened and what to change; never the error's own text, which may hold addresses."""
        by_hand = f"or put the files into the folder {repo}/ under the models folder"
        if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
            error = error.__cause__
        match error:
            case errors.HfHubHTTPError():
                return self._advice_for_answer(error, repo, revision, by_hand)
            case errors.HFValidationError():
                return f"There is no checkpoint {repo} in the models folder, and no model on the hub can be called so."
            case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
                return self._advice_for_missing(repo, by_hand)
            case OSError() if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return f"{repo} could not be downloaded: the hub's cache (HF_HOME) cannot be written to."
        if disk.is_full(error):
            return f"The disk is full: {repo} could not be downloaded. Free space in the hub's cache (HF_HOME)."
        return f"The download of {repo} failed ({type(error).__name__}). Check the network and try again, {by_hand}."

    def _advice_for_answer(self, error: errors.HfHubHTTPError, repo: str, revision: str | None, by_hand: str) -> str:
        """The hub was reached and said no."""
        match error:
            case errors.GatedRepoError():
                return self._advice_for_gated(repo)
            case errors.RepositoryNotFoundError():
                return (
                    f"There is no checkpoint {repo}: not in the models folder, and not on the model hub unless it is "
                    f"private. Check the name, set HF_TOKEN if it is private, {by_hand}."
                )
            case errors.RevisionNotFoundError():
                return f"{repo} has no revision {revision or 'main'} on the model hub. Check `revision`."
            case errors.DisabledRepoError():
                return f"{repo} has been disabled on the model hub. Choose another checkpoint, {by_hand}."
        status = error.response.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            return f"The model hub refused access to {repo}: HF_TOKEN is missing or not valid."
        return f"The model hub answered {status} when asked for {repo}. Try again later, {by_hand}."

    def _advice_for_gated(self, repo: str) -> str:
        accept = f"accept its licence at https://huggingface.co/{repo}"
        if self._token is None:
            return f"{repo} is gated: {accept} with your account, then set HF_TOKEN to a token of that account."
        return f"{repo} is gated, and HF_TOKEN does not open it: {accept} with the account that the token is from."

    def _advice_for_missing(self, repo: str, by_hand: str) -> str:
        if self._offline:
            return (
                f"{repo} is neither in the models folder nor completely in the hub's cache, and the hub is switched "
                f"off. Start once with HF_HUB_OFFLINE=0, {by_hand}."
            )
        return (
            f"{repo} is neither in the models folder nor completely in the hub's cache, and the model hub cannot be "
            f"reached. Check the network, {by_hand}."
        )
