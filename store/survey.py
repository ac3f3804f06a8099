"""Survey: what is concluded of every model of a store, anew only of those whose files are not as they were.

Whatever changes a store, this process or another, changes files of it. So each survey looks at them all, but reads only those
that have changed. It is for what is shown: what is written or deleted rests on Tags and BlobStore, which remember nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from .errors import CorralError, MachineError, ModelNotFoundError
from .local import Store
from .manifest import Manifest
from .name import Name
from .sight import Evidence, Sight
from .tags import TaggedModel, Tags

MOST_REMEMBERED = 16 << 20
"""Bytes of manifests and configs; models beyond are read each time."""
_LEAST = 1 << 10
"""Bytes that a model counts for at least."""
_MOST_PLACES = 1 << 15

_T = TypeVar("_T")
_RANK = attrgetter("rank")


@dataclass(frozen=True, slots=True)
class _Known(Generic[_T]):
    """A manifest file, and what was concluded from it and its blobs."""

    name: tuple[str, ...]
    """Folded."""
    rank: tuple[float, str]
    """The newest first."""
    conclusion: _T | None
    """None of a model that is left out."""
    evidence: Evidence | None
    weight: int
    """Bytes."""


class Survey(Generic[_T]):
    """The models of a store, each as what `conclude` says of it; where that raises a CorralError the model is left out.

    `conclude` is also given what it said of another tag of the same manifest, or None. It reads no files but the model's
    blobs, and says nothing much larger than manifest and config.
    """

    def __init__(self, store: Store, conclude: Callable[[TaggedModel, _T | None], _T]) -> None:
        self._store = store
        self._conclude = conclude
        self._walks = [_Walk(one.tags) for one in (store, *store.below)]
        self._known: dict[str, _Known[_T]] = {}
        self._lock = threading.Lock()

    def models(self) -> list[_T]:
        """All that can be found by name, newest first. What is said of them is remembered, and not the caller's to change.

        Raises StoreError when a folder of tags cannot be read.
        """
        found: list[_Known[_T]] = []
        taken: set[tuple[str, ...]] = set()
        with self._lock:  # who comes second finds everything known
            this = _Round(self._store, self._conclude, self._known)
            for walk in self._walks:
                here = sorted(this.look(walk), key=_RANK)
                newest: dict[tuple[str, ...], _Known[_T]] = {}
                for one in here:
                    if one.conclusion is not None and one.name not in taken:
                        newest.setdefault(one.name, one)
                found += newest.values()
                taken.update(one.name for one in here)
            self._known = this.known
        return [one.conclusion for one in sorted(found, key=_RANK) if one.conclusion is not None]


class _Walk:
    """Which manifest files there are in one store."""

    def __init__(self, tags: Tags) -> None:
        self.tags = tags
        self._files: list[tuple[str, Name]] = []
        self._evidence: Evidence | None = None

    def files(self, sight: Sight) -> list[tuple[str, Name]]:
        """All of them now, with their names."""
        if self._evidence is not None and sight.shows(self._evidence):
            return self._files
        places: list[str] = []
        files = list(self.tags.files(places.append))
        is_kept = len(places) + len(files) <= _MOST_PLACES
        self._evidence = sight.evidence(places) if is_kept else None
        self._files = files if self._evidence is not None else []
        return files


class _Round(Generic[_T]):
    """One survey."""

    def __init__(
        self, store: Store, conclude: Callable[[TaggedModel, _T | None], _T], before: dict[str, _Known[_T]]
    ) -> None:
        self.known: dict[str, _Known[_T]] = {}
        """What is to be remembered, by the path of the manifest."""
        self._store = store
        self._conclude = conclude
        self._before = before
        self._sight = Sight()
        self._twins: dict[Manifest, _T] = {}
        self._left = MOST_REMEMBERED

    def look(self, walk: _Walk) -> Iterator[_Known[_T]]:
        """What is known now of each model of one store."""
        for path, name in walk.files(self._sight):
            one = self._before.get(path)
            if one is None or one.evidence is None or not self._sight.shows(one.evidence):
                one = self._read(walk.tags, path, name)
            if one is None:
                continue  # deleted since it was listed
            if one.evidence is not None and one.weight <= self._left:
                self._left -= one.weight
                self.known[path] = one
            yield one

    def _read(self, tags: Tags, path: str, name: Name) -> _Known[_T] | None:
        conclusion, modified, weight, files = None, 0.0, _LEAST, [path]
        try:
            tagged = tags.read_file(path, name)
            modified, model = tagged.modified, tagged.manifest
            weight += len(model.raw) + model.config.size
            files += self._blob_files(model)
            conclusion = self._twins[model] = self._conclude(tagged, self._twins.get(model))
        except ModelNotFoundError:
            return None
        except MachineError:
            files = []  # it may be otherwise the next moment, whatever they are
        except CorralError:
            pass  # left out, while its files are so
        evidence = self._sight.evidence(files) if files else None
        return _Known(name.folded(), (-modified, str(name)), conclusion, evidence, weight)

    def _blob_files(self, model: Manifest) -> Iterator[str]:
        """Where the blobs are found, and where they are looked for before. Raises InvalidDigestError."""
        for digest in {blob.digest: None for blob in model.blobs}:
            for place in (
                str(place) for one in (self._store, *self._store.below) for place in one.blobs.places(digest)
            ):
                yield place
                if self._sight[place] is not None:
                    break
