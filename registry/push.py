"""Push: a model from the store to a registry: blobs it lacks, several at once, and then the manifest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial

from ..store.digest import Digest
from ..store.errors import InputError, InvalidDigestError
from ..store.kept import MAX_BYTES
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from . import hub
from .formats.writing import FORMS, Outgoing, pack
from .journal import Journal
from .quirks import upload_policy
from .remote import Access
from .throttle import Throttle
from .transport import Registry
from .upload import Content, Upload

_CONNECTIONS = 4
_PIECE = 1 << 20


def push(
    name: Name,
    store: Store,
    *,
    insecure: bool = False,
    access: Access | None = None,
    form: str = "",
    report: Report = silent,
) -> TaggedModel:
    """Send the model in this form; "" for the one that its registry is to have by the settings, which is Ollama's unsaid.

    Raises ModelNotFoundError, InputError, RegistryError, and IntegrityErrors for a blob missing or damaged here.
    """
    if hub.is_hub(name):
        raise InputError(f"{name}: models are not pushed to Hugging Face as to a registry", hint="`hf upload` does it")
    report(Progress("retrieving manifest"))
    model = store.find(name)
    store.check_complete(model.manifest)
    name.check_oci()
    with Registry(name, insecure=insecure, access=access, actions="pull,push") as registry:
        outgoing = _packed(name, model.manifest, store, form or registry.remote.format)
        _Sending(store, registry, report).run(outgoing)
        report(Progress("pushing manifest"))
        digest = _digest_of(name)
        registry.put_manifest(str(digest) if digest else name.tag, outgoing.raw, outgoing.media_type)
    report(Progress("success"))
    return model


def _packed(name: Name, manifest: Manifest, store: Store, form: str) -> Outgoing:
    """What is sent; of a name with a digest, what has it. Raises InputError where nothing does."""
    read = partial(store.blobs.read, limit=MAX_BYTES)
    original = store.kept.find(manifest.digest)
    outgoing = pack(form or FORMS[0], manifest, read, original)
    digest = _digest_of(name)
    for other in FORMS if digest and not form else ():
        if Digest.of(outgoing.raw) != digest:
            outgoing = pack(other, manifest, read, original)
    if digest and Digest.of(outgoing.raw) != digest:
        raise InputError(
            f"{name}: its manifest has another digest in the form in which it would be sent: {Digest.of(outgoing.raw)}",
            hint="give it a tag: corral cp, and push that",
        )
    return outgoing


def _digest_of(name: Name) -> Digest | None:
    """What a name is pinned to: by its digest, or by the tag under which that is kept here."""
    if name.digest is None:
        with contextlib.suppress(InvalidDigestError):
            return Digest.from_filename(name.tag)
    return name.digest


class _StoppedError(Exception):
    """Another blob could not be sent, so this one need not be. Ends a connection in the middle of a body."""


class _Sending:
    """The blobs of one push, on their way."""

    def __init__(self, store: Store, registry: Registry, report: Report) -> None:
        self._store = store
        self._registry = registry
        self._report = report
        self._reporting = threading.Lock()
        self._journal = Journal(store, registry.host, registry.repository)
        self._throttle = Throttle(registry.remote.bandwidth)
        self._is_over = threading.Event()
        self._threads = registry.remote.connections or _CONNECTIONS
        # What is sent is hashed at the same time, apart from it: a registry might not look.
        self._checks = ThreadPoolExecutor(self._threads)
        self._begun: dict[Digest, Future[None]] = {}

    def run(self, outgoing: Outgoing) -> None:
        """Return when the registry has all blobs. The first error ends the others at their next piece."""
        made = {blob.digest: data for blob, data in outgoing.made}
        blobs = [*outgoing.stored, *(blob for blob, _ in outgoing.made)]
        with ThreadPoolExecutor(self._threads) as pool, self._checks:
            try:
                # The largest decides how long it takes.
                ordered = sorted(blobs, key=lambda blob: -blob.size)
                for future in as_completed([pool.submit(self._send, blob, made.get(blob.digest)) for blob in ordered]):
                    with contextlib.suppress(_StoppedError):  # by what another one raises
                        future.result()
            except BaseException:
                # Who waits for something now need not.
                self._throttle.stop()
                self._registry.abort()
                raise
            finally:
                self._is_over.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _send(self, blob: Descriptor, data: bytes | None) -> None:
        if self._is_over.is_set():
            return
        try:
            if not self._registry.has_blob(blob.digest):
                read = partial(self._stored, blob) if data is None else partial(_sliced, data)
                content = Content(blob.digest, blob.size, read)
                Upload(self._registry, content, upload_policy(self._registry.host), self._journal).run()
        except BaseException:
            self._is_over.set()
            raise
        self._journal.saw(blob.digest)
        self._say(blob, blob.size)

    def _stored(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Bytes of a stored blob. Raises MismatchError, before the last of them, where the blob is damaged."""
        check = self._check(blob)
        with self._store.blobs.open(blob.digest) as file:
            file.seek(start)
            while start < stop:
                if self._is_over.is_set():
                    raise _StoppedError
                piece = file.read(min(_PIECE, stop - start))
                start += len(piece)
                if start == blob.size or not piece or check.done():
                    check.result()
                self._throttle.take(len(piece))
                yield piece
                self._say(blob, start)

    def _check(self, blob: Descriptor) -> Future[None]:
        """The one look at all of a blob's bytes, begun when they are first wanted."""
        with self._reporting:
            if blob.digest not in self._begun:
                self._begun[blob.digest] = self._checks.submit(self._look, blob)
            return self._begun[blob.digest]

    def _look(self, blob: Descriptor) -> None:
        for _ in self._store.blobs.verified(blob):
            if self._is_over.is_set():
                return

    def _say(self, blob: Descriptor, completed: int) -> None:
        with self._reporting:
            self._report(Progress(f"pushing {blob.digest.short}", blob.digest, blob.size, completed))


def _sliced(data: bytes, start: int, stop: int) -> Iterator[bytes]:
    yield data[start:stop]
