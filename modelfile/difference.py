"""Difference: what sets two stored models apart, part by part; what is the same in both is left out."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..store import gguf, manifest
from ..store.config import MAX_CONFIG_BYTES
from ..store.errors import InvalidManifestError
from ..store.files import open_regular
from ..store.gguf import GGUF, Array
from ..store.gojson import Json
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.tags import TaggedModel
from .describe import read_licenses, read_messages, read_text
from .sources import read_config, read_parameters

_OLLAMAS = "application/vnd.ollama.image."
_WEIGHTS = (manifest.MODEL, manifest.PROJECTOR, manifest.ADAPTER, manifest.DRAFT)
_MAX_LINES = 20_000
"""Comparing lines takes time by the square of their number."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that differs: what it is, and what it is in each model; None where there is none."""

    key: str
    a: Json
    b: Json


@dataclass(frozen=True, slots=True)
class Weights:
    """What differs between the GGUFs of one role."""

    role: str
    metadata: tuple[Change, ...]
    tensors: tuple[Change, ...]
    """By name; a side is the type and the shape. Their numbers are not compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two models, side by side."""

    a: TaggedModel
    b: TaggedModel
    layers: tuple[Change, ...] = ()
    """By role; a side is the list of digests and sizes."""
    config: tuple[Change, ...] = ()
    parameters: tuple[Change, ...] = ()
    texts: dict[str, str] = field(default_factory=dict[str, str])
    """Of template, system, messages and license those that differ, as unified diffs."""
    weights: tuple[Weights, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether they are the same model, to the byte."""
        return self.a.manifest == self.b.manifest

    def to_json(self) -> dict[str, Json]:
        """For programs; a side that has no such thing is null."""
        return {
            "equal": self.is_none,
            **{side: {"name": str(model.name), "digest": str(model.manifest.digest)} for side, model in self._sides()},
            "layers": _listed(self.layers),
            "config": _listed(self.config),
            "parameters": _listed(self.parameters),
            "texts": self.texts,
            "weights": [
                {"role": one.role, "metadata": _listed(one.metadata), "tensors": _listed(one.tensors)}
                for one in self.weights
            ],
        }

    def _sides(self) -> tuple[tuple[str, TaggedModel], ...]:
        return (("a", self.a), ("b", self.b))


def _listed(changes: Sequence[Change]) -> list[dict[str, Json]]:
    return [{"key": change.key, "a": change.a, "b": change.b} for change in changes]


def difference(store: Store, a: TaggedModel, b: TaggedModel) -> Difference:
    """Compare two models of the store. Raises IntegrityErrors for blobs that are missing or damaged."""
    if a.manifest == b.manifest:
        return Difference(a, b)
    one, other = a.manifest, b.manifest
    texts = {
        "template": _both(one, other, lambda model: read_text(store, model.layers, manifest.TEMPLATE, manifest.PROMPT)),
        "system": _both(one, other, lambda model: read_text(store, model.layers, manifest.SYSTEM)),
        "messages": _both(one, other, lambda model: _conversation(store, model)),
        "license": _both(one, other, lambda model: "\n".join(read_licenses(store, model))),
    }
    weights = [_weights(store, one, other, media_type) for media_type in _WEIGHTS]
    return Difference(
        a,
        b,
        _changes(_layers(one), _layers(other)),
        _changes(_config(store, one), _config(store, other)),
        _changes(read_parameters(store, one), read_parameters(store, other)),
        {part: unified(*sides, str(a.name), str(b.name)) for part, sides in texts.items() if sides[0] != sides[1]},
        tuple(found for found in weights if found and (found.metadata or found.tensors)),
    )


def _both(one: Manifest, other: Manifest, read: Callable[[Manifest], str]) -> tuple[str, str]:
    return read(one), read(other)


def _changes(one: Mapping[str, Json], other: Mapping[str, Json]) -> tuple[Change, ...]:
    """What is under the same key in one and in the other, where it differs; in the order of keys."""
    keys = dict.fromkeys((*one, *other))
    # By their texts: 1, 1.0 and true are not the same, and what is no number is itself.
    return tuple(
        Change(key, one.get(key), other.get(key)) for key in keys if repr(one.get(key)) != repr(other.get(key))
    )


def _layers(model: Manifest) -> dict[str, Json]:
    roles: dict[str, list[dict[str, Json]]] = {}
    for layer in model.layers:
        blob: dict[str, Json] = {"digest": str(layer.digest), "size": layer.size}
        roles.setdefault(layer.media_type.removeprefix(_OLLAMAS), []).append(blob)
    return {**roles, "config": [{"digest": str(model.config.digest), "size": model.config.size}]}


def _config(store: Store, model: Manifest) -> dict[str, Json]:
    read_config(store, model)
    try:
        return msgspec.json.decode(store.blobs.read(model.config, MAX_CONFIG_BYTES), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as cause:
        raise InvalidManifestError(f"blob {model.config.digest}", f"config: {cause}") from None


def _conversation(store: Store, model: Manifest) -> str:
    return "".join(f"{message.role}: {message.content}\n" for message in read_messages(store, model.layers))


def unified(one: str, other: str, name: str, other_name: str) -> str:
    """The lines that differ between two texts, as diff -u shows them."""
    if not one.endswith("\n") and not other.endswith("\n"):
        one, other = one + "\n", other + "\n"
    lines, others = one.splitlines(keepends=True), other.splitlines(keepends=True)
    if len(lines) + len(others) > _MAX_LINES:
        return f"--- {name}\n+++ {other_name}\n{len(lines)} and {len(others)} lines, too many to compare\n"
    compared = difflib.unified_diff(lines, others, name, other_name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of text\n" for line in compared)


def _weights(store: Store, one: Manifest, other: Manifest, media_type: str) -> Weights | None:
    """What differs between the last GGUFs of a role; None where one has none, or where they are the same blob."""
    layers, others = one.of_type(media_type), other.of_type(media_type)
    if not layers or not others or layers[-1] == others[-1]:
        return None
    paths = [_path(store, layer) for layer in (layers[-1], others[-1])]
    if not all(gguf.is_gguf(path) for path in paths):
        return None
    headers = [gguf.read(path, f"blob {path.name}") for path in paths]
    return Weights(
        media_type.removeprefix(_OLLAMAS),
        _changes(*(_metadata(path, header) for path, header in zip(paths, headers, strict=True))),
        _changes(*(_tensors(header) for header in headers)),
    )


def _path(store: Store, layer: Descriptor) -> Path:
    store.blobs.check(layer)
    return store.blobs.path(layer.digest)


def _metadata(path: Path, header: GGUF) -> dict[str, Json]:
    with open_regular(path) as file:

        def plain(key: str) -> Json:
            value = header.metadata[key]
            if isinstance(value, float) and not math.isfinite(value):
                return str(value)
            if not isinstance(value, Array):
                return value
            if len(value.items) == value.count:
                return list(value.items)
            start, end = header.pairs[key]
            file.seek(start)
            return {"count": value.count, "sha256": hashlib.sha256(file.read(end - start)).hexdigest()}

        return {key: plain(key) for key in sorted(header.metadata)}


def _tensors(header: GGUF) -> dict[str, Json]:
    return {tensor.name: {"type": tensor.type, "shape": list(tensor.shape)} for tensor in header.tensors}
