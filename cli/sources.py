"""Modelfiles as the command line names them: a path, or - for standard input."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import BinaryIO

from ..modelfile.source import MAX_BYTES, Source
from ..store.errors import FileError, InputError, system_errors


def read_source(file: str) -> tuple[bytes, Source, Path]:
    """The Modelfile's bytes and text, and the folder its relative paths start at. Raises InputError and FileError."""
    if file == "-":
        data = _text(sys.stdin.buffer, "standard input")
        return data, Source.decode(data, "<stdin>"), Path.cwd()
    path = Path(file)
    name = os.fsencode(file).decode("utf-8", "replace")
    if path.is_dir():
        raise InputError(f"{name}: is a folder", hint="name the Modelfile in it")
    if not path.exists():
        raise InputError(f"{name}: no such Modelfile", hint="write one, or name it with -f")
    with system_errors(path, "read", FileError), path.open("rb") as opened:
        data = _text(opened, name)
    return data, Source.decode(data, name), path.parent


def read_text(file: str) -> str:
    """A file of text, or - for standard input. Raises InputError and FileError."""
    if file == "-":
        return _text(sys.stdin.buffer, "standard input").decode("utf-8", "replace")
    with system_errors(Path(file), "read", FileError), Path(file).open("rb") as opened:
        return _text(opened, file).decode("utf-8-sig", "replace")


def write_source(path: Path, text: str) -> None:
    """Write the new text beside the file and put it in its place, so that a crash leaves one or the other."""
    target = path.resolve()
    with system_errors(path, "write", FileError):
        before = target.stat()
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _text(opened: BinaryIO, name: str) -> bytes:
    # One byte more than allowed is enough for `parse` to refuse it, and all that is read of an endless file.
    text = opened.read(MAX_BYTES + 1)
    if b"\0" in text and not text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) and _is_binary(text):
        hint = "to build from a file of weights, write a Modelfile that says FROM and its path"
        raise InputError(f"{name}: is a binary file, not a Modelfile", hint=hint)
    return text


def _is_binary(text: bytes) -> bool:
    """Whether NULs are no accident; Ollama drops one here and there from what is text otherwise."""
    if text[:1024].count(b"\0") > 16:
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False
