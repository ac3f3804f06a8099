"""Hub files: a repository's list of files, and each file on this machine, from Hugging Face's cache or by a download.

Nothing here is taken at its word: names and numbers of the list are checked, and a file is compared with the checksum that
the Hub publishes for it before anything is done with it. The cache is only read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfApi,
    constants,
    hf_hub_download,  # pyright: ignore[reportUnknownVariableType] - its user_agent is a bare dict
    scan_cache_dir,
    try_to_load_from_cache,
)
from huggingface_hub.errors import CacheNotFound

from ..store import locks
from ..store.blobs import BlobStore
from ..store.digest import Digest
from ..store.errors import InvalidDigestError, MachineError, MismatchError, system_errors
from ..store.files import open_regular
from ..store.manifest import MAX_BLOB_BYTES
from .errors import UNSOUND, RegistryError
from .hub_choice import HubFile, is_sound
from .hub_client import at_work, not_the_hub

MAX_FILES = 20_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 60.0
"""Seconds without a byte of the list."""
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as it was at one commit."""

    id: str
    identity: str
    """What an error is about."""
    commit: str
    files: tuple[HubFile, ...]

    def cached(self, file: HubFile) -> Path | None:
        """The file in the cache, of this commit or of any other with the same content; it may yet be damaged."""
        with at_work(self.identity):
            found = try_to_load_from_cache(self.id, file.path, revision=self.commit)
            folder = Path(constants.HF_HUB_CACHE, f"models--{self.id.replace('/', '--')}", "blobs")
            by_content = [folder / name for name in (file.sha256.hex if file.sha256 else "", file.git_id) if name]
            paths = ([Path(found)] if isinstance(found, str) else []) + by_content
            return next((path for path in paths if path.is_file() and path.stat().st_size == file.size), None)

    def download(self, file: HubFile, folder: Path, on_bytes: Callable[[int], None]) -> tuple[Path, Digest]:
        """Fetch the file into an empty folder: where it is then, and its digest. `on_bytes` hears how many bytes have come.

        Raises RegistryError, MismatchError when it has another size or checksum, MachineError when there is no room.
        """
        with system_errors(folder, "write to the store"):
            free = shutil.disk_usage(folder).free
        if file.size > free:
            hint = "free some space (`corral gc` removes what no model uses)"
            raise MachineError(f"{folder}: {file.size} bytes to write, {free} free", hint=hint)
        with at_work(self.identity, size=file.size):
            if constants.HF_HUB_OFFLINE:
                raise _offline(self.identity, f"its file {file.path} is not in the cache, or damaged there")
            path = hf_hub_download(
                self.id,
                file.path,
                revision=self.commit,
                local_dir=folder,
                cache_dir=folder,  # a damaged copy in the real cache would be taken
                tqdm_class=_meter(on_bytes, file.size),
            )
        return Path(path), self.check(file, Path(path))

    def check(self, file: HubFile, path: Path) -> Digest:
        """The digest of what is at `path`. Raises MismatchError unless it is the file, by the published checksum."""
        sha256, git = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        git.update(b"blob %d\0" % file.size)
        with open_regular(path) as opened, system_errors(path, "read"):
            size = os.fstat(opened.fileno()).st_size
            while chunk := opened.read(_CHUNK):
                sha256.update(chunk)
                if not file.sha256:
                    git.update(chunk)
        digest = Digest("sha256", sha256.hexdigest())
        expected, got = (str(file.sha256), str(digest)) if file.sha256 else (file.git_id, git.hexdigest())
        if size != file.size:
            expected, got = f"{file.size} bytes", f"{size} bytes"
        if expected != got:
            raise MismatchError(f"{self.identity}: {file.path}", expected=expected, got=got, hint=UNSOUND)
        return digest


def find_repository(repository: str, identity: str) -> Repository:
    """What the Hub has of this name now; offline, what the cache has. Raises RegistryError."""
    with at_work(identity):
        if constants.HF_HUB_OFFLINE:
            return _cached_repository(repository, identity)
        api = HfApi(library_name="corral")
        try:
            found = api.model_info(repository, files_metadata=True, timeout=_TIMEOUT)
            commit, siblings = found.sha, found.siblings or []
        except (json.JSONDecodeError, UnicodeError, KeyError, TypeError, AttributeError, RecursionError) as cause:
            raise not_the_hub(identity, f"its list of files cannot be read ({type(cause).__name__})") from cause
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise not_the_hub(identity, "it does not say which commit it lists")
    if len(siblings) > MAX_FILES:
        raise RegistryError(f"{identity}: the repository has {len(siblings)} files, at most {MAX_FILES} are looked at")
    return Repository(repository, identity, commit, tuple(_listed(siblings)))


def _listed(siblings: Iterable[Any]) -> Iterable[HubFile]:
    """The entries of the Hub's list that can be relied on; others are passed over."""
    for entry in siblings:
        lfs: Any = entry.lfs
        path, size, git_id = entry.rfilename, lfs.size if lfs else entry.size, "" if lfs else entry.blob_id
        if not isinstance(path, str) or not is_sound(path) or type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
            continue
        try:
            sha256 = Digest("sha256", lfs.sha256) if lfs else None
        except (InvalidDigestError, TypeError):
            continue
        if sha256 or (isinstance(git_id, str) and _COMMIT.fullmatch(git_id)):
            yield HubFile(path, size, sha256, git_id or "")


def _cached_repository(repository: str, identity: str) -> Repository:
    try:
        found = [repo for repo in scan_cache_dir().repos if (repo.repo_type, repo.repo_id) == ("model", repository)]
    except CacheNotFound:
        found = []
    main = found[0].refs.get("main") if found else None
    if main is None:
        raise _offline(identity, f"the cache at {constants.HF_HUB_CACHE} does not have it")
    files: list[HubFile] = []
    for file in main.files:
        path, content = file.file_path.relative_to(main.snapshot_path).as_posix(), file.blob_path.name
        if is_sound(path) and re.fullmatch(r"[0-9a-f]{64}", content):
            files.append(HubFile(path, file.size_on_disk, Digest("sha256", content)))
        elif is_sound(path) and _COMMIT.fullmatch(content):
            files.append(HubFile(path, file.size_on_disk, git_id=content))
    return Repository(repository, identity, main.commit_hash, tuple(files))


def _offline(identity: str, why: str) -> RegistryError:
    return RegistryError(f"{identity}: HF_HUB_OFFLINE is set, and {why}", hint="unset it to fetch the model")


def _meter(on_bytes: Callable[[int], None], size: int) -> Any:
    """What the library takes for a progress bar; it prints nothing."""

    class Meter:
        total = size
        n = 0

        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> Meter:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, count: float | None = 1) -> None:
            self.n += int(count or 0)
            on_bytes(min(self.n, size))

        def update_transfer(self, *_: object) -> None:
            """What has come and is not written yet; having this, the library makes one bar for both."""

        def set_postfix_str(self, *_: object, **__: object) -> None: ...

        set_transfer_postfix_str = set_description = refresh = close = set_postfix_str

    return Meter


@contextmanager
def landing(blobs: BlobStore) -> Generator[Path]:
    """A folder of its own on the store's file system for what is fetched; it goes with the block.

    Its owner holds an flock on it, so that a collection can tell it from what a dead process left.
    """
    blobs.prepare()
    folder = blobs.ingest_folder / secrets.token_hex(12)
    # Under the lock, so that no collection sees the folder before its owner holds it.
    with locks.shared(blobs.lock_file), system_errors(folder, "write to the store"):
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
