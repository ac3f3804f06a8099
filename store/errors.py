"""Every error a user can meet descends from CorralError; the branch says whose fault it is.

`str(error)` is one line, identity first, both sides stated; `error.hint` says what to do about it. The CLI maps branches
to exit codes and the HTTP dialects map them to statuses, each in one table. No foreign exception leaves a seam.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar


class CorralError(Exception):
    """The base of all of Corral's errors. The message is made one line, whatever outside text went into it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(one_line(message))
        self.hint = hint


class InputError(CorralError):
    """What the user or client asked for is wrong or does not exist."""


class IntegrityError(CorralError):
    """Bytes are not what their digest, size or format says."""


class RemoteError(CorralError):
    """A registry or a server on another machine failed or refused."""


class MachineError(CorralError):
    """This machine cannot do it: permissions, disk space, a port in use, a crashed worker."""


class BugError(CorralError):
    """Corral itself is wrong."""


class InvalidDigestError(InputError):
    """Text that is not a digest."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{shown(text)}: invalid digest format", hint="a digest is sha256: and 64 lower-case hex digits"
        )
        self.text = text


class InvalidNameError(InputError):
    """Text that is not a model name."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(
            f"{shown(text)}: invalid model name: {why}", hint="a name is [host/][namespace/]model[:tag][@sha256:…]"
        )
        self.text = text
        self.why = why


class ModelNotFoundError(InputError):
    """No such model in the local store."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found", hint=f"see `corral list`, or fetch it: corral pull {name}")
        self.name = name


AGAIN = "pull or create the model again"
"""The hint for what a pull or a creation sees is missing; what it would trust has to be removed first."""


class BlobNotFoundError(IntegrityError):
    """A blob that a manifest names is not in the store."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest}: not in the store", hint=AGAIN)
        self.digest = digest


class MismatchError(IntegrityError):
    """Content whose digest or size is not the promised one."""

    def __init__(self, what: str, *, expected: str, got: str, hint: str | None = None) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}", hint=hint)
        self.what = what
        self.expected = expected
        self.got = got


class InvalidManifestError(IntegrityError):
    """Bytes that are not a manifest this store can hold."""

    def __init__(self, identity: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(f"{identity}: invalid manifest: {why}", hint=hint)
        self.identity = identity
        self.why = why


class InvalidGGUFError(IntegrityError):
    """A file that is not a GGUF the engine may safely be given."""

    def __init__(self, identity: str, why: str) -> None:
        super().__init__(
            f"{identity}: invalid GGUF: {why}",
            hint="the file is damaged or was not fully downloaded; fetch it again (a stored model: `corral rm` it first)",
        )
        self.identity = identity
        self.why = why


class InvalidArchiveError(IntegrityError):
    """A file or folder that is no image layout with a model in it."""

    def __init__(self, identity: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(f"{identity}: invalid archive: {why}", hint=hint)
        self.identity = identity
        self.why = why


class FileError(MachineError):
    """The operating system refused an access to a file."""

    hints: ClassVar[dict[int, str]] = {}

    def __init__(self, path: str, action: str, cause: OSError) -> None:
        super().__init__(f"{path}: cannot {action}: {cause.strerror or cause}", hint=self.hints.get(cause.errno or 0))
        self.path = path
        self.action = action
        self.errno = cause.errno


_OTHER_STORE = "name another store with OLLAMA_MODELS"


class StoreError(FileError):
    """The operating system refused something the store needs."""

    hints: ClassVar[dict[int, str]] = {
        errno.EACCES: f"give this user the right to it, or {_OTHER_STORE}",
        errno.EPERM: f"give this user the right to it, or {_OTHER_STORE}",
        errno.EROFS: f"the file system is read-only; {_OTHER_STORE}",
        errno.ENOSPC: "free some space (`corral gc` removes what no model uses)",
        errno.ENOTDIR: "OLLAMA_MODELS must name a folder",
        errno.EEXIST: "OLLAMA_MODELS must name a folder",
    }


@contextmanager
def system_errors(path: str | os.PathLike[str], action: str, kind: type[FileError] = StoreError) -> Generator[None]:
    """Turn an OSError in the block into a `kind` that says what could not be done to `path`."""
    try:
        yield
    except OSError as cause:
        raise kind(os.fspath(path), action, cause) from cause


def shown(text: str, limit: int = 80) -> str:
    """`text` in quotes, safe to print on a terminal: control characters escaped, cut to `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{one_line(cut)}"'


def one_line(text: str) -> str:
    """`text` with line ends and all other unprintable characters escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
