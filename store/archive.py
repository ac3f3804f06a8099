"""Archive: a model as an OCI image layout, in a folder or a tar file, to carry it where no registry is.

What is shipped is hashed on its way, and the target gets its name only when all of it is there. Equal models under equal
names make equal archives, to the byte. How one is read is in unpack.py, its documents are in layout.py.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from . import layout, tar
from .errors import FileError, InputError, MachineError, system_errors
from .files import sync_folder
from .local import Store
from .manifest import Descriptor
from .progress import Progress, Report, silent
from .tags import TaggedModel


def export(store: Store, model: TaggedModel, target: str, *, replaces: bool = False, report: Report = silent) -> None:
    """Write the model to a folder (one that is there, or a name with a / at its end) or to a file NAME.tar.

    With `replaces` an archive that is there already is replaced, but nothing else is ever. Raises InputError for any other
    target, IntegrityErrors for a damaged model, MachineError and FileError when it cannot be written; the target is as it
    was then.
    """
    with system_errors(target, "write", FileError):
        path = Path(target).resolve()
        is_folder = path.is_dir() or target.endswith("/")
    if not is_folder and not target.endswith(".tar"):
        raise InputError(f"{target}: neither a folder nor an archive", hint=f"write {target}/ or {target}.tar")
    if not path.parent.is_dir():
        raise InputError(f"{target}: no such folder: {path.parent}", hint="make it first")
    _check_target(path, target, is_folder=is_folder, replaces=replaces)
    store.check_complete(model.manifest)
    _check_space(path, model.manifest.size)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        if is_folder:
            _write_folder(store, model, temporary, report)
        else:
            with system_errors(path, "write", FileError), temporary.open("xb") as file:
                write_tar(store, model, file.write, report=report)
                file.flush()
                os.fsync(file.fileno())
        _put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
    report(Progress("success"))


def write_tar(store: Store, model: TaggedModel, write: Callable[[bytes], object], *, report: Report = silent) -> None:
    """Write the model's archive piece by piece: the documents, then the blobs by digest.

    Raises IntegrityErrors for a damaged model, when part of it has been written.
    """
    for file, size, content in _files(store, model, report):
        write(tar.header(file, size))
        for chunk in content:
            write(chunk)
        write(tar.padding(size))
    write(tar.END)


def _files(store: Store, model: TaggedModel, report: Report) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Name, size and content of every file of the layout; who reads it in one pass knows first what belongs to it."""
    image = layout.wrap(model.manifest)
    described = layout.image_of(image)
    index = layout.write_index(described, model.name)
    documents = ((layout.LAYOUT, layout.MARK), (layout.INDEX, index), (layout.file_of(described.digest), image))
    for file, data in documents:
        yield file, len(data), iter((data,))
    for digest, blob in sorted({blob.digest: blob for blob in model.manifest.blobs}.items()):
        yield layout.file_of(digest), blob.size, _reading(store, blob, report)


def _reading(store: Store, blob: Descriptor, report: Report) -> Iterator[bytes]:
    status, done = f"exporting {blob.digest.short}", 0
    for chunk in store.blobs.verified(blob):
        done += len(chunk)
        report(Progress(status, blob.digest, blob.size, done))
        yield chunk


def _write_folder(store: Store, model: TaggedModel, folder: Path, report: Report) -> None:
    blobs = folder / "blobs" / "sha256"
    with system_errors(folder, "write", FileError):
        blobs.mkdir(parents=True)
        for file, _, content in _files(store, model, report):
            with (folder / file).open("xb") as opened:
                for chunk in content:
                    opened.write(chunk)
                opened.flush()
                os.fsync(opened.fileno())
        for written in (blobs, blobs.parent, folder):
            sync_folder(written)


def _put_in_place(temporary: Path, path: Path) -> None:
    with system_errors(path, "write", FileError):
        try:
            temporary.rename(path)
        except OSError as cause:
            if cause.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # A folder that has something in it, which is a layout as has been seen.
            old = path.with_name(f"{temporary.name}.old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        sync_folder(path.parent)


def _check_target(path: Path, target: str, *, is_folder: bool, replaces: bool) -> None:
    with system_errors(path, "write", FileError):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return
        if is_folder and not stat.S_ISDIR(mode):
            raise InputError(f"{target}: it is a file", hint="name another folder")
        if not is_folder and not stat.S_ISREG(mode):
            raise InputError(f"{target}: not a regular file")
        if is_folder and not any(path.iterdir()):
            return
        if is_folder and not _is_layout(path):
            hint = "name another; what is no archive is not replaced"
            raise InputError(f"{target}: the folder has other files in it than an archive's", hint=hint)
    if not replaces:
        raise InputError(f"{target}: it is there already", hint="--force replaces it")


def _is_layout(folder: Path) -> bool:
    """Whether the folder holds a layout and nothing else, so that no file of anybody's is lost with it."""
    files = {path.name for path in folder.iterdir()}
    if layout.LAYOUT not in files or not files <= {layout.LAYOUT, layout.INDEX, "blobs"}:
        return False
    inside = [path for path in (folder / "blobs").rglob("*") if path.is_symlink() or not path.is_dir()]
    return all(layout.digest_of(path.relative_to(folder).as_posix()) for path in inside)


def _check_space(path: Path, needed: int) -> None:
    with system_errors(path.parent, "read", FileError):
        free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise MachineError(
            f"{path}: {needed} bytes to write, {free} free", hint="free some space, or name another place"
        )
