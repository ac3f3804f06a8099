"""Errors of the registry client, and what can be said of a foreign exception in one line."""

from __future__ import annotations

from ..store.errors import RemoteError

UNSOUND = (
    "the registry's copy is damaged or was changed on the way, and nothing of it is kept; try again, or tell its owner"
)


class RegistryError(RemoteError):
    """A registry's refusal or failure."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        hint: str | None = None,
        is_passing: bool = False,
        retry_after: float | None = None,
        codes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.is_passing = is_passing
        """Whether it may go another way when tried again."""
        self.retry_after = retry_after
        """The seconds to wait before that, where the registry says."""
        self.codes = codes
        """The OCI error codes in the reply."""


def reason(cause: BaseException) -> str:
    """The innermost cause, which is what a person can act on."""
    # Not by __context__, which leads on to whatever else was being handled when the request was made.
    while inner := [
        held for held in (cause.__cause__, *cause.args, getattr(cause, "reason", None)) if isinstance(held, Exception)
    ]:
        cause = inner[0]
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
