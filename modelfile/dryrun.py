"""Dry run: the manifest that build() would make, from the same plan, with nothing written anywhere."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..store import manifest, parts
from ..store.digest import Digest
from ..store.files import open_regular
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.stamps import Stamp, has_sound_stamps
from . import nodes
from .builder import prepare
from .plan import ContentLayer, FileLayer, Layer

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a creation would make."""

    name: Name
    manifest: Manifest
    new: tuple[Descriptor, ...]
    """The blobs it would write."""


def foresee(
    name: Name,
    modelfile: nodes.Modelfile,
    store: Store,
    *,
    folder: Path,
    is_cached: bool = True,
    report: Report = silent,
) -> Foreseen:
    """What build() would create of these arguments. A base model that is not here is not pulled, but an error.

    Raises ModelfileError for what is wrong in the file, other CorralErrors for what is wrong around it.
    """
    planned = prepare(modelfile, store, folder=folder, report=report)
    layers = [_descriptor(layer, store, report, is_cached=is_cached) for layer in planned.layers]
    config = _content(planned.config.encode(), manifest.CONFIG_TYPE)
    made = Manifest.build(config, layers)
    new = tuple(blob for blob in dict.fromkeys(made.blobs) if not store.blobs.has(blob))
    return Foreseen(store.tags.spelled(name.pinned_tag()), made, new)


def _descriptor(layer: Layer, store: Store, report: Report, *, is_cached: bool) -> Descriptor:
    match layer:
        case Descriptor():
            return layer
        case ContentLayer():
            return _content(layer.data, layer.media_type)
        case FileLayer() if layer.more:
            hashed, size = hashlib.sha256(), 0
            for chunk in parts.content((layer.path, *layer.more)):
                hashed.update(chunk)
                size += len(chunk)
                report(Progress("merging split GGUF", completed=size))
            return Descriptor(layer.media_type, Digest("sha256", hashed.hexdigest()), size)
        case FileLayer():
            return _file(layer, store, report, is_cached=is_cached)


def _content(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


def _file(layer: FileLayer, store: Store, report: Report, *, is_cached: bool) -> Descriptor:
    with open_regular(layer.path) as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        known = store.blobs.stamps.find(stamp) if is_cached and has_sound_stamps(layer.path) else None
        if known:
            return Descriptor(layer.media_type, known, stamp.size)
        status, hashed, size = f"hashing file {layer.path.name}", hashlib.sha256(), 0
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
            size += len(chunk)
            report(Progress(status, total=stamp.size, completed=size))
    return Descriptor(layer.media_type, Digest("sha256", hashed.hexdigest()), size)
