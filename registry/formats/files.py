"""Files: a model that is packed as plain files, and the manifest that is made for them. Pure.

The manifest depends on nothing but the files: whoever pulls them gets the same one. What a GGUF is for is in its header;
only what has to be known before gigabytes are fetched is told by the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...store import gojson, parts
from ...store.config import Config
from ...store.digest import Digest
from ...store.errors import InvalidManifestError, shown
from ...store.header import GGUF
from ...store.manifest import ADAPTER, CONFIG_TYPE, MODEL, PARAMS, PROJECTOR, Descriptor, Manifest
from ..contents import Part
from .document import Document, file_of
from .packed import Merge, ReadHeader, Small, Unpacked, once, rest

_KINDS = {"model": MODEL, "adapter": ADAPTER, "projector": PROJECTOR}
_PART = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.gguf", re.IGNORECASE)
_ADAPTER = re.compile(r"lora|adapter", re.IGNORECASE)
_MOST_SHOWN = 8
_ONE_MODEL = "ask its publisher for an artifact with one model in it"

Parameters = Mapping[str, gojson.Json]


def no_parameters(small: Small) -> Parameters:  # noqa: ARG001 as the others
    """What a format says that has no place for parameters."""
    return {}


@dataclass(frozen=True, slots=True)
class File:
    """A GGUF."""

    name: str
    """What its packer called it, "" where it does not say."""
    blob: Descriptor
    """Its media type is what it is for; MODEL stands for what its header says."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one model. `weights` are GGUFs, `texts` have the media types they get here."""

    format: str
    identity: str
    weights: tuple[File, ...]
    texts: tuple[Descriptor, ...]
    small: tuple[Descriptor, ...] = ()
    parameters: Callable[[Small], Parameters] = no_parameters

    @property
    def taken(self) -> tuple[Descriptor, ...]:
        """The weights and the texts."""
        return once([*(file.blob for file in self.weights), *self.texts])

    def model(self, small: Small, header: ReadHeader, merge: Merge) -> Unpacked:
        """The model of these files. Raises InvalidManifestError where they are not one, InvalidGGUFError."""
        said = self.parameters(small)
        weights = {file.blob.digest: file.blob for file in self.weights}
        headers = {digest: header(digest) for digest in weights}
        split = {digest: _number(facts) for digest, facts in headers.items() if parts.count(facts) > 1}
        layers = [_typed(blob, headers[digest]) for digest, blob in weights.items() if digest not in split]
        if split:
            whole = merge(sorted(split, key=split.__getitem__))
            headers[whole.digest] = header(whole.digest)
            layers.append(replace(whole, media_type=MODEL))
        models = [layer for layer in layers if layer.media_type == MODEL]
        if len(models) != 1:
            names = _list(file.name or file.blob.digest.short for file in self.weights)
            why = f"{len(models)} of its GGUF files are models, expected one: {names}"
            raise InvalidManifestError(self.identity, why, hint=_ONE_MODEL)
        made = [_blob(CONFIG_TYPE, Config.of(headers[models[0].digest]).encode())]
        if said:
            made.append(_blob(PARAMS, gojson.encode(said, sort_keys=True)))
        layers += [*self.texts, *(blob for blob, _ in made[1:])]
        return Unpacked(Manifest.build(made[0][0], list(dict.fromkeys(layers))), tuple(made))


def _typed(blob: Descriptor, header: GGUF) -> Descriptor:
    return replace(blob, media_type=_KINDS[header.kind]) if blob.media_type == MODEL else blob


def _number(header: GGUF) -> int:
    """Which part it is; the merger sees that none is missing and none is there twice."""
    value = header.metadata.get(parts.SPLIT_NUMBER, 0)
    return value if isinstance(value, int) else 0


def _blob(media_type: str, data: bytes) -> tuple[Descriptor, bytes]:
    return Descriptor(media_type, Digest.of(data), len(data)), data


def gathered(
    form: str,
    document: Document,
    weights: Sequence[File],
    texts: Sequence[Descriptor],
    parameters: Callable[[Small], Parameters] = no_parameters,
) -> Files:
    """The model of these files of an artifact. Raises InvalidManifestError where their names say that they are several."""
    models = [file for file in weights if file.blob.media_type == MODEL and _is_whole_model(file.name)]
    if len({file.blob.digest for file in models}) > 1:
        names = _list(file.name for file in models)
        raise document.wrong(f"it has {len(models)} models in it: {names}", _ONE_MODEL)
    small = rest(document, [*(file.blob for file in weights), *texts])
    return Files(form, document.identity, tuple(weights), tuple(texts), small, parameters)


def without_gguf(document: Document, what: str, weights: Iterable[Part]) -> InvalidManifestError:
    """The error for a model in another format."""
    names = _list(file_of(part) or part.descriptor.media_type for part in weights) or "it has no weights at all"
    hint = "only GGUF weights are run here; llama.cpp's convert_hf_to_gguf.py makes them of others"
    return document.wrong(f"it is {what} without a GGUF file: {names}", hint)


def _is_whole_model(name: str) -> bool:
    """Whether a file's name says that it is a model; one without a suffix says nothing."""
    return name.lower().endswith(".gguf") and not _ADAPTER.search(name) and not _PART.search(name)


def _list(names: Iterable[str]) -> str:
    every = [shown(name) for name in names]
    return ", ".join(every[:_MOST_SHOWN] + ["…"] * (len(every) > _MOST_SHOWN))
