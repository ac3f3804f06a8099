"""Repair: good copies for what verify() found damaged, from where each model came from.

A copy is hashed before anything here gives way to it, so a damaged blob never takes the place of a good one, nor of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from .digest import Digest
from .errors import CorralError, InvalidDigestError, MismatchError
from .local import Store
from .manifest import Descriptor
from .name import DEFAULT_HOST, Name
from .progress import Progress, Report, silent
from .verify import Problem, Verified, hash_file, verify

_ANY = "application/octet-stream"


class Origin(Protocol):
    """Where models come from."""

    def blob(self, name: Name, blob: Descriptor, /) -> Iterator[bytes]:
        """The bytes of one of the model's blobs, not yet to be trusted. Raises a CorralError."""
        ...

    def model(self, name: Name, report: Report, /) -> None:
        """Bring the model into the store anew. Raises a CorralError."""
        ...


def repair(
    store: Store, found: Verified, origin: Origin, *, is_deep: bool = False, report: Report = silent
) -> Verified:
    """Repair what can be; each problem then says whether it is, and if not, why.

    A manifest that is pulled anew is looked through in its turn, as deeply as before.
    """
    done: list[Problem] = []
    blobs = {(one.subject, one.problem): one for one in found.problems if isinstance(one.subject, Digest)}
    for name, problem in [(one.subject, one) for one in found.problems if isinstance(one.subject, Name)]:
        done.append(_outcome(problem, _repair_manifest(name, origin, report)))
        again = verify(store, name, is_deep=is_deep, report=report).problems if done[-1].is_repaired else ()
        if any(isinstance(one.subject, Name) for one in again):
            done[-1] = _outcome(problem, "what its registry has is no better")
        for one in again:
            if isinstance(one.subject, Digest):
                key = (one.subject, one.problem)
                others = blobs[key].models if key in blobs else ()
                blobs[key] = replace(one, models=tuple(sorted({*others, *one.models}, key=str)))
    done += [
        _outcome(problem, _repair_blob(problem, digest, store, origin, report))
        for (digest, _), problem in blobs.items()
    ]
    return replace(found, problems=tuple(sorted(done, key=lambda problem: problem.key)))


def _outcome(problem: Problem, reason: str | None) -> Problem:
    return replace(problem, is_repaired=reason is None, reason=reason)


def _repair_manifest(name: Name, origin: Origin, report: Report) -> str | None:
    """Why it could not be, None when it could."""
    if name.host == DEFAULT_HOST:
        # Most names without a host were made here; what a registry has under such a name may be another model altogether.
        return "its name has no registry's host; pull or create it again"
    try:
        origin.model(_pinned(name), report)
    except CorralError as error:
        return str(error)
    return None


def _pinned(name: Name) -> Name:
    """What to ask a registry for: a tag `sha256-…` was given to what was pulled by its digest."""
    try:
        return replace(name, digest=Digest.from_filename(name.tag))
    except InvalidDigestError:
        return name


def _repair_blob(problem: Problem, digest: Digest, store: Store, origin: Origin, report: Report) -> str | None:
    """Why it could not be, None when it could."""
    if problem.size is None:
        return "no model uses it; gc removes it"
    if problem.problem == "header" and _is_whole(store, digest):
        return "it is as its digest says, and was made so"
    failures: dict[str, None] = {}
    # A name's own registry first; a name without one is Ollama's registry's, or was made here.
    for name in sorted(problem.models, key=lambda name: (name.host == DEFAULT_HOST, str(name))):
        try:
            _replace(store, Descriptor(_ANY, digest, problem.size), name, origin, report)
        except CorralError as error:
            failures[str(error)] = None
        else:
            return None
    return "; ".join(failures)


def _is_whole(store: Store, digest: Digest) -> bool:
    try:
        return hash_file(store.blobs.path(digest)) == digest
    except OSError:
        return False


def _replace(store: Store, blob: Descriptor, name: Name, origin: Origin, report: Report) -> None:
    with store.writing(), store.blobs.once(blob.digest), store.blobs.ingest(blob.size) as ingest:
        for chunk in origin.blob(name, blob):
            ingest.write(chunk)
            report(Progress(f"repairing {blob.digest.short}", blob.digest, blob.size, ingest.size))
        try:
            ingest.commit(blob.media_type, expected=blob.digest, size=blob.size, replaces=True)
        except MismatchError as error:
            what = f"{name}: blob {blob.digest.short} from {name.host}"
            raise MismatchError(what, expected=error.expected, got=error.got) from None
