"""What can go wrong in an evaluation."""

from app.core.errors import ManyvecError


class EvaluationError(ManyvecError):
    """The server does not answer as it should, or a set cannot be read; the message says what to do."""
