"""What can go wrong, without HTTP: `app.api.errors` holds the one table from these to status codes.

A message is shown to the client as it is, so it says what to change and never quotes raw input,
a path, an address or a Python repr.
"""


class ManyvecError(Exception):
    """Base of every error whose message may be shown to a client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInputError(ManyvecError):
    """A value that the caller can correct."""


class UnsupportedTaskError(BadInputError):
    """The chosen model cannot do what was asked; the message names the models that can."""


class TooLargeError(ManyvecError):
    """More bytes, pixels, items or characters than the server accepts."""


class ModelNotFoundError(ManyvecError):
    """No configured model has that name."""


class ModelLoadError(ManyvecError):
    """A checkpoint is missing, broken, refused or of an unsupported family."""


class UnavailableError(ManyvecError):
    """The server cannot take this now; worth trying again after `retry_after_s` seconds."""

    retry_after_s = 1


class QueueFullError(UnavailableError):
    """As much work waits as the limits allow."""


class ModelLoadingError(UnavailableError):
    """The model is still being loaded."""

    retry_after_s = 5


class ShuttingDownError(UnavailableError):
    """The server (or this model) drains and takes no new work."""

    retry_after_s = 5


class OutOfMemoryError(UnavailableError):
    """Not even one item alone fitted into the device's memory."""

    retry_after_s = 10
