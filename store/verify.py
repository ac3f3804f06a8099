"""Verify: what a store claims against what is computed from its files. Nothing is changed, and nothing ends it early.

Manifests claim that they can be read and that each blob is here with its size; a blob's name claims the sha256 of its
content; a layer of weights claims to be a GGUF. All that is not so is listed, in an order that depends on nothing else.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import gguf
from .config import MAX_CONFIG_BYTES, Config
from .digest import Digest
from .errors import CorralError, InvalidGGUFError, InvalidManifestError, StoreError
from .files import open_regular
from .local import Store
from .manifest import ADAPTER, DRAFT, MODEL, PROJECTOR, Descriptor, Manifest
from .name import Name
from .progress import Progress, Report, silent
from .strays import Stray, strays
from .tags import TaggedModel

SMALL = 1 << 20
"""Blobs below this many bytes are always hashed."""
_CHUNK = 1 << 20
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """A claim that does not hold."""

    subject: Digest | Name
    """A blob, or a model whose manifest it is."""
    problem: str
    """`manifest`, `missing`, `unreadable`, `size`, `content` or `header`."""
    expected: str
    got: str
    models: tuple[Name, ...] = ()
    """Those that use it."""
    size: int | None = None
    """The blob's size in bytes, as these models have it."""
    is_repaired: bool = False
    reason: str | None = None
    """Why it could not be repaired."""

    @property
    def key(self) -> tuple[bool, str, str, str]:
        """Where it stands in a listing: manifests first."""
        return isinstance(self.subject, Digest), str(self.subject), self.problem, self.expected

    def to_json(self) -> dict[str, str | bool | list[str] | None]:
        """For programs."""
        return {
            "object": str(self.subject),
            "problem": self.problem,
            "expected": self.expected,
            "got": self.got,
            "models": [str(name) for name in self.models],
            "repaired": self.is_repaired,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        used = f" (in {', '.join(map(str, self.models))})" if isinstance(self.subject, Digest) and self.models else ""
        return f"{self.subject}: {self.problem}: expected {self.expected}, got {self.got}{used}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found."""

    problems: tuple[Problem, ...]
    strays: tuple[Stray, ...]
    """Files that belong to no model; they harm nothing."""
    models: int
    """Models looked at."""
    blobs: int
    hashed: int
    """Bytes."""

    @property
    def remaining(self) -> int:
        """Problems that have not been repaired."""
        return sum(not problem.is_repaired for problem in self.problems)


@dataclass(slots=True)
class _Claims:
    """What the manifests say of one blob."""

    sizes: dict[int, list[Name]] = field(default_factory=dict[int, list[Name]])
    is_gguf: bool = False

    @property
    def models(self) -> tuple[Name, ...]:
        return tuple(sorted({name for names in self.sizes.values() for name in names}, key=str))


def verify(
    store: Store, name: Name | None = None, *, is_deep: bool = False, report: Report = silent, threads: int = 0
) -> Verified:
    """Check the model of this name, or everything. `is_deep` hashes all blobs, else the small ones are.

    Raises ModelNotFoundError, and StoreError where the store itself cannot be listed.
    """
    if name:
        manifests, problems = _manifests(store, store.find, [name])
    else:
        manifests, problems = _manifests(store, store.tags.read, sorted(store.tags.names(), key=str))
    claims: dict[Digest, _Claims] = {}
    served: set[Digest] = set()
    for model, manifest in manifests.items():
        weights = _weights(store, manifest)
        for blob in manifest.blobs:
            if blob.digest.algorithm != "sha256":
                problems.append(Problem(model, "manifest", "blobs by sha256", str(blob.digest), (model,)))
                continue
            claim = claims.setdefault(blob.digest, _Claims())
            claim.sizes.setdefault(blob.size, []).append(model)
            claim.is_gguf |= blob in weights
    if name is None:
        problems += _given(store)
        served = store.repositories.named()
        for digest in (*store.blobs, *served):
            claims.setdefault(digest, _Claims())
    checks = _Checks(store, claims, report, is_deep=is_deep)
    problems += checks.run(threads or min(_THREADS, os.cpu_count() or 1))
    found = strays(store, {digest for digest in claims if claims[digest].sizes} | served) if name is None else ()
    problems.sort(key=lambda problem: problem.key)
    return Verified(tuple(problems), tuple(found), len(manifests), len(claims), checks.hashed)


def _manifests(
    store: Store, read: Callable[[Name], TaggedModel], names: Iterable[Name]
) -> tuple[dict[Name, Manifest], list[Problem]]:
    found: dict[Name, Manifest] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            model = read(name)
            found[model.name] = model.manifest
            tag, got = model.name.tag, model.manifest.digest.filename
            pins = {got} if tag == got else {digest.filename for digest in store.digests(model.manifest)}
            if tag.startswith("sha256-") and tag not in pins:
                problems.append(Problem(model.name, "manifest", tag, got, (model.name,)))
        except InvalidManifestError as error:
            problems.append(Problem(name, "manifest", "a manifest", error.why, (name,)))
        except StoreError as error:
            problems.append(Problem(name, "unreadable", "a manifest", str(error), (name,)))
    return found, problems


def _given(store: Store) -> list[Problem]:
    """What is wrong with the manifests that clients of the registry server gave."""
    return [
        Problem(digest, "manifest", f"a manifest of the repository {repository}", "other bytes")
        for repository in store.repositories
        for digest in store.repositories.manifests(repository)
        if store.repositories.manifest(repository, digest) is None
    ]


def _weights(store: Store, manifest: Manifest) -> tuple[Descriptor, ...]:
    """The layers that must be GGUF files: none where the config says that the format is another."""
    try:
        with open_regular(store.blobs.path(manifest.config.digest)) as file:
            config = Config.parse(file.read(MAX_CONFIG_BYTES + 1))
    except CorralError:
        config = Config()
    is_other = config.model_format not in ("", "gguf")
    return () if is_other else manifest.of_type(MODEL, PROJECTOR, ADAPTER, DRAFT)


class _Checks:
    """Looks at every blob once, in threads: hashing lets go of the interpreter."""

    def __init__(self, store: Store, claims: dict[Digest, _Claims], report: Report, *, is_deep: bool) -> None:
        self._store = store
        self._claims = claims
        self._report = report
        self._is_deep = is_deep
        self._lock = threading.Lock()
        self._is_ended = threading.Event()
        self._total = 0
        self.hashed = 0

    def run(self, threads: int) -> list[Problem]:
        sizes = [_size(path) for digest in self._claims for path in self._paths(digest)]
        self._total = sum(size for size in sizes if self._is_hashed(size))
        pool = ThreadPoolExecutor(threads)
        try:
            return [problem for problems in pool.map(self._check, sorted(self._claims)) for problem in problems]
        finally:
            self._is_ended.set()  # an interruption does not wait for the hashing of large blobs
            pool.shutdown(cancel_futures=True)

    def _paths(self, digest: Digest) -> list[Path]:
        """The files that hold the blob: two where its second name had to be a copy."""
        return list(self._store.blobs.files(digest)) or [self._store.blobs.path(digest)]

    def _is_hashed(self, size: int) -> bool:
        return self._is_deep or size < SMALL

    def _check(self, digest: Digest) -> list[Problem]:
        for path in self._paths(digest):
            if problems := self._check_file(digest, path):
                return problems
        return []

    def _check_file(self, digest: Digest, path: Path) -> list[Problem]:
        claim = self._claims[digest]
        bare = Problem(digest, "", "", "", claim.models, next(iter(claim.sizes), None))
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return [replace(bare, problem="unreadable", expected="a file", got="something else")]
            wrong = [
                Problem(digest, "size", f"{size} bytes", f"{status.st_size} bytes", tuple(sorted(names, key=str)), size)
                for size, names in sorted(claim.sizes.items())
                if size != status.st_size
            ]
            if wrong:
                return wrong
            if self._is_hashed(status.st_size):
                if (got := hash_file(path, self._count)) != digest:
                    return [replace(bare, problem="content", expected=str(digest), got=str(got))]
            elif not self._store.blobs.links.is_intact(digest, path):
                return [replace(bare, problem="content", expected=str(digest), got="the file it links to was edited")]
            if claim.is_gguf:
                gguf.read(path, str(digest))
        except FileNotFoundError:
            return [replace(bare, problem="missing", expected="a blob", got="no file")]
        except InvalidGGUFError as error:
            return [replace(bare, problem="header", expected="a GGUF", got=error.why)]
        except (OSError, CorralError) as error:
            return [replace(bare, problem="unreadable", expected="a file", got=_reason(error))]
        return []

    def _count(self, size: int) -> None:
        if self._is_ended.is_set():
            raise KeyboardInterrupt
        with self._lock:
            self.hashed += size
            self._report(Progress("hashing blobs", total=self._total, completed=self.hashed))


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Digest:
    """The digest of a file, in constant memory; `on_bytes` hears of each piece how long it is. Raises OSError."""
    hashed, buffer = hashlib.sha256(), bytearray(_CHUNK)
    with path.open("rb", 0) as file:
        while count := file.readinto(buffer):
            hashed.update(memoryview(buffer)[:count])
            on_bytes(count)
    return Digest("sha256", hashed.hexdigest())


def _size(path: Path) -> int:
    """A file's size as far as it can be told."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: OSError | CorralError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
