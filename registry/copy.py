"""Copy: what one name stands for, to another name, from registry to registry and past the local store.

Manifests keep their bytes. Blobs that the target has are not sent; within one registry they are mounted; else they are
streamed, verified on the way: the last piece of a blob is sent only when its digest holds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..store.digest import Digest
from ..store.errors import InputError, MismatchError
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from .contents import Contents
from .errors import UNSOUND, RegistryError
from .formats.document import agreed_type
from .quirks import upload_policy
from .referrers import note_subject, referrers
from .remote import Access
from .throttle import Throttle
from .transport import Registry, RemoteManifest
from .upload import Content, Upload

MAX_MANIFESTS = 1000
MAX_DEPTH = 4
"""Of an index in an index, or a referrer of a referrer."""


def copy(
    source: Name,
    target: Name,
    *,
    insecure: bool = False,
    access: Access | None = None,
    with_referrers: bool = False,
    report: Report = silent,
) -> RemoteManifest:
    """Copy a manifest, all it names, and if asked what refers to it. Raises InputErrors, RegistryError, IntegrityErrors."""
    access = access or Access()
    target.check_oci()
    report(Progress("pulling manifest"))
    with (
        Registry(source, insecure=insecure, access=access) as reading,
        Registry(target, insecure=insecure, access=access, actions="pull,push") as writing,
    ):
        manifest = fetched(reading, source.reference)
        if target.digest and target.digest != manifest.digest:
            raise InputError(
                f"{target}: cannot name {source}, whose digest is {manifest.digest}", hint="name a tag instead"
            )
        throttles = tuple(Throttle(registry.remote.bandwidth) for registry in (reading, writing))
        _Copying(reading, writing, report, with_referrers, throttles).manifest(manifest, target.reference)
    report(Progress("success"))
    return manifest


def fetched(registry: Registry, reference: str) -> RemoteManifest:
    """A manifest by its tag, or by its digest, which it then has. Raises RegistryError, MismatchError."""
    manifest = registry.manifest(reference)
    if ":" in reference:
        wanted = Digest.parse(reference)
        got = Digest(wanted.algorithm, hashlib.new(wanted.algorithm, manifest.raw).hexdigest())
        if got != wanted:
            what = f"{registry.identity}: manifest from {registry.host}"
            raise MismatchError(what, expected=reference, got=str(got), hint=UNSOUND)
    return manifest


@dataclass(slots=True)
class _Copying:
    """One copy, from one repository to another."""

    source: Registry
    target: Registry
    report: Report
    with_referrers: bool
    throttles: tuple[Throttle, ...]
    done: set[Digest] = field(default_factory=set[Digest])
    """Of blobs and manifests."""
    manifests: int = 0

    def manifest(self, manifest: RemoteManifest, reference: str, depth: int = 0) -> None:
        """Copy a manifest after all it names, give it this tag or digest, and copy what refers to it."""
        self.manifests += 1
        if depth > MAX_DEPTH or self.manifests > MAX_MANIFESTS:
            raise RegistryError(
                f"{self.source.identity}: more than {MAX_MANIFESTS} manifests, or more than {MAX_DEPTH} in each other"
            )
        contents = Contents.parse(manifest.raw, f"{self.source.identity}: {manifest.digest}")
        for part in contents.manifests:
            digest = part.descriptor.digest
            if digest not in self.done:
                self.manifest(fetched(self.source, str(digest)), str(digest), depth + 1)
                self.done.add(digest)
        for blob in contents.blobs:
            self._blob(blob)
        self.report(Progress("pushing manifest"))
        media_type = agreed_type(contents, manifest.media_type, self.source.identity)
        stored = self.target.put_manifest(reference, manifest.raw, media_type)
        note_subject(self.target, manifest, stored)
        self.done.add(manifest.digest)
        if self.with_referrers:
            for part in referrers(self.source, manifest.digest):
                self._referrer(part.descriptor.digest, manifest.digest, depth + 1)

    def _referrer(self, digest: Digest, subject: Digest, depth: int) -> None:
        if digest in self.done:
            return
        try:
            manifest = fetched(self.source, str(digest))
        except RegistryError as error:
            if error.status != 404:
                raise
            # Clients that keep such a list may have forgotten to take it out.
            self.report(Progress(f"{digest} is listed as a referrer, and gone"))
            return
        named = Contents.parse(manifest.raw, f"{self.source.identity}: {digest}").subject
        if named is None or named.descriptor.digest != subject:
            got = str(named.descriptor.digest) if named else "none"
            what = f"{self.source.identity}: subject of {digest}, which is listed as a referrer"
            raise MismatchError(what, expected=str(subject), got=got)
        self.manifest(manifest, str(digest), depth)

    def _blob(self, blob: Descriptor) -> None:
        if blob.digest in self.done:
            return
        if not self.target.has_blob(blob.digest) and not self._is_mounted(blob.digest):
            content = Content(blob.digest, blob.size, _Passing(self.source, blob, self._took).read)
            Upload(self.target, content, upload_policy(self.target.host)).run()
        self.report(Progress(f"copying {blob.digest.short}", blob.digest, blob.size, blob.size))
        self.done.add(blob.digest)

    def _took(self, blob: Descriptor, done: int, count: int) -> None:
        time.sleep(max(throttle.reserve(count) for throttle in self.throttles))
        self.report(Progress(f"copying {blob.digest.short}", blob.digest, blob.size, done))

    def _is_mounted(self, digest: Digest) -> bool:
        """Have the registry take a blob from its other repository; whether it has."""
        if self.source.host.lower() != self.target.host.lower():
            return False
        try:
            reply = self.target.begin_upload(digest, self.source.repository)
        except RegistryError as error:
            if error.status is None or error.is_passing:
                raise
            return False  # not every registry mounts
        location = reply.headers.get("Location")
        if reply.status_code == 202 and location:
            # It has begun an upload instead, of which nothing will come.
            url = self.target.joined(reply.url, location)
            self.target.ask("DELETE", url, also_ok=tuple(range(300, 600)))
        return reply.status_code == 201


class _Passing:
    """A blob on its way from one registry to another, fetched as it is sent; read from the start when it is sent again.

    The last piece is kept until size and digest are as they should be, so that the target cannot have taken a wrong blob,
    however careless it is.
    """

    def __init__(self, source: Registry, blob: Descriptor, took: Callable[[Descriptor, int, int], None]) -> None:
        self._source = source
        self._blob = blob
        self._took = took
        self._pieces: Iterator[bytes] | None = None
        self._hashed = hashlib.new(blob.digest.algorithm)
        self._received = self._given = 0
        self._left = b""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from the one position to before the other. Raises RegistryError, MismatchError."""
        if start < self._given:
            self._pieces, self._left, self._given = None, b"", 0
        for _ in self._until(start):
            pass
        yield from self._until(stop)

    def _until(self, stop: int) -> Iterator[bytes]:
        while self._given < stop:
            self._left = self._left or self._next()
            piece, self._left = self._left[: stop - self._given], self._left[stop - self._given :]
            self._given += len(piece)
            self._took(self._blob, self._given, len(piece))
            yield piece

    def _next(self) -> bytes:
        """The next piece from the source; the last one is good."""
        size = self._blob.size
        if self._pieces is None:
            self._pieces = self._source.blob(self._blob.digest, size)
            self._hashed = hashlib.new(self._blob.digest.algorithm)
            self._received = 0
        piece = next(self._pieces, b"")
        self._hashed.update(piece)
        self._received += len(piece)
        if not piece:
            raise self._mismatch(f"{size} bytes", f"{self._received} bytes")
        if self._received > size or (self._received == size and next(self._pieces, b"")):
            raise self._mismatch(f"{size} bytes", "more")
        if self._received == size and self._hashed.hexdigest() != self._blob.digest.hex:
            got = f"{self._blob.digest.algorithm}:{self._hashed.hexdigest()}"
            raise self._mismatch(str(self._blob.digest), got)
        return piece

    def _mismatch(self, expected: str, got: str) -> MismatchError:
        what = f"{self._source.identity}: blob {self._blob.digest.short} from {self._source.host}"
        return MismatchError(what, expected=expected, got=got, hint=UNSOUND)
