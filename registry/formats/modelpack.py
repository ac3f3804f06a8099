"""ModelPack: the CNCF's model-spec, v1. Layers are files that say by a media type what they are, and by an annotation how
they are called. Pure.

What is written here names its files so that the model can be made of them again; where its manifest cannot (Ollama's has
`from` in it, say), it is an annotation, as in the OCI form. What others write is a GGUF with its licences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ...store import gojson
from ...store.config import MAX_CONFIG_BYTES, Config
from ...store.digest import Digest
from ...store.errors import InvalidManifestError
from ...store.layout import ORIGINAL
from ...store.manifest import (
    ADAPTER,
    CONFIG_TYPE,
    DRAFT,
    LICENSE,
    MAX_MANIFEST_BYTES,
    MESSAGES,
    MODEL,
    PARAMS,
    PROJECTOR,
    SYSTEM,
    TEMPLATE,
    Descriptor,
    Manifest,
)
from ..contents import Part
from .document import FILEPATH, MODELPACK, OCI_MANIFEST, Document, file_of, is_license, is_projector
from .files import File, Files, gathered, without_gguf
from .oci import annotations_of, original_of
from .packed import Packed, Whole, rest

NAME = "modelpack"
CONFIG = "application/vnd.cncf.model.config.v1+json"

_WEIGHT, _SETTINGS, _DOC = (f"application/vnd.cncf.model.{kind}.v1.raw" for kind in ("weight", "weight.config", "doc"))
_GGUF = "application/vnd.cncf.model.weight.v1.gguf"
"""Docker Model Runner's spelling."""
_ANY_WEIGHT = "application/vnd.cncf.model.weight.v1."
_METADATA = "org.cncf.model.file.metadata+json"

_OLLAMAS_CONFIG = "ollama-config.json"
_PLACES = {
    MODEL: ("model", ".gguf", _WEIGHT),
    PROJECTOR: ("mmproj", ".gguf", _WEIGHT),
    ADAPTER: ("adapter", ".gguf", _WEIGHT),
    DRAFT: ("draft", ".gguf", _WEIGHT),
    TEMPLATE: ("template", "", _SETTINGS),
    SYSTEM: ("system", "", _SETTINGS),
    PARAMS: ("params", "", _SETTINGS),
    MESSAGES: ("messages", "", _SETTINGS),
    LICENSE: ("LICENSE", "", _DOC),
}
"""How the layers' files are called, and their types. Texts have the names by which Ollama knows them on Hugging Face."""
_PARAMETER_COUNT = re.compile(r"([0-9]+)(\.[0-9]+)?([KMB])")


def read(document: Document) -> Packed | None:
    """The model of a ModelPack artifact; None for anything else. Raises InvalidManifestError where it is of no use here."""
    if document.config.media_type != CONFIG and document.contents.artifact_type != MODELPACK:
        return None
    own = _own(document)
    return Whole(NAME, own, rest(document, own.blobs)) if own else _foreign(document)


def _own(document: Document) -> Manifest | None:
    """The model that was packed here; None for one that others packed.

    What somebody attached later is no part of it, but no weights may be passed over.
    """
    layers = {layer.descriptor.digest for layer in document.layers}
    weights = {layer.descriptor.digest for layer in document.layers if _is_weight(layer)}
    if ORIGINAL in document.contents.annotations:
        return original_of(document, lambda digests: weights <= digests <= layers)
    placed = [(layer, _place(layer)) for layer in document.layers]
    if any(place is None and _is_weight(layer) for layer, place in placed):
        return None
    typed = [replace(layer.descriptor, media_type=place) for layer, place in placed if place]
    configs = [blob for blob in typed if blob.media_type == CONFIG_TYPE]
    if len(configs) != 1:
        return None
    return Manifest.build(configs[0], [blob for blob in typed if blob.media_type != CONFIG_TYPE])


def _is_weight(layer: Part) -> bool:
    return layer.descriptor.media_type.startswith(_ANY_WEIGHT)


def _place(layer: Part) -> str | None:
    """Which layer of ours a file is, by the name that write() gives it."""
    path, kind = layer.annotations.get(FILEPATH, ""), layer.descriptor.media_type
    if (path, kind) == (_OLLAMAS_CONFIG, _SETTINGS):
        return CONFIG_TYPE
    for media_type, (stem, suffix, packed_as) in _PLACES.items():
        if kind == packed_as and re.fullmatch(rf"{stem}(-[0-9]{{1,5}})?{re.escape(suffix)}", path):
            return media_type
    return None


def _foreign(document: Document) -> Files:
    weights: list[File] = []
    texts: list[Descriptor] = []
    for layer in document.layers:
        blob, name = layer.descriptor, file_of(layer)
        if blob.media_type == _GGUF or (blob.media_type == _WEIGHT and _may_be_gguf(name)):
            weights.append(File(name, replace(blob, media_type=PROJECTOR if is_projector(name) else MODEL)))
        elif blob.media_type == _DOC and is_license(name):
            texts.append(replace(blob, media_type=LICENSE))
        elif blob.media_type == _SETTINGS and (place := _place(layer)) not in (None, CONFIG_TYPE):
            texts.append(replace(blob, media_type=place))
    if not weights:
        raise _without_gguf(document)
    return gathered(NAME, document, weights, texts)


def _may_be_gguf(name: str) -> bool:
    """Whether a weight file is worth fetching: by its name, or because it has none that says what it is."""
    return name.lower().endswith(".gguf") or "." not in name


def _without_gguf(document: Document) -> InvalidManifestError:
    weights = [layer for layer in document.layers if _is_weight(layer)]
    packed = next((layer for layer in weights if not layer.descriptor.media_type.endswith(".raw")), None)
    if packed:
        why = f"its weights are in an archive ({packed.descriptor.media_type}), and only raw ones are read"
        return document.wrong(why, "have it packed raw (`modctl build --raw`)")
    return without_gguf(document, "a ModelPack artifact", weights)


def write(manifest: Manifest, read_blob: Callable[[Descriptor], bytes]) -> tuple[bytes, tuple[Descriptor, bytes]]:
    """A model as a ModelPack manifest, and the config blob that is made for it.

    Raises InvalidManifestError for one that is too large for any registry, and what `read_blob` does.
    """
    counts: dict[str, int] = {}
    layers = [_layer(layer, *_name(layer, counts)) for layer in manifest.layers]
    layers.append(_layer(manifest.config, _OLLAMAS_CONFIG, _SETTINGS))
    described = _config(manifest, read_blob)
    config = Descriptor(CONFIG, Digest.of(described), len(described))
    document: dict[str, gojson.Json] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": MODELPACK,
        "config": config.to_json(),
        "layers": layers,
        **({} if _is_rebuilt(manifest) else {"annotations": annotations_of(manifest)}),
    }
    raw = gojson.encode(document)
    if len(raw) > MAX_MANIFEST_BYTES:
        why = f"as ModelPack it has {len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are read"
        raise InvalidManifestError(str(manifest.digest), why)
    return raw, (config, described)


def _is_rebuilt(manifest: Manifest) -> bool:
    """Whether the files alone lead back to the manifest's very bytes."""
    known = all(layer.media_type in _PLACES for layer in manifest.layers) and manifest.config.media_type == CONFIG_TYPE
    return known and Manifest.build(manifest.config, list(manifest.layers)) == manifest


def _name(layer: Descriptor, counts: dict[str, int]) -> tuple[str, str]:
    """A file name that no other layer has, and ModelPack's media type."""
    stem, suffix, kind = _PLACES.get(layer.media_type, ("layer", "", _SETTINGS))
    number = counts[stem] = counts.get(stem, 0) + 1
    return f"{stem}-{number}{suffix}" if number > 1 else f"{stem}{suffix}", kind


def _layer(blob: Descriptor, path: str, kind: str) -> dict[str, gojson.Json]:
    # The same for every file, so that equal models are equal artifacts.
    fields: dict[str, gojson.Json] = {"name": path, "mode": 0o644, "uid": 0, "gid": 0, "size": blob.size}
    fields |= {"mtime": "1970-01-01T00:00:00Z", "typeflag": ord("0")}
    metadata = gojson.encode(fields).decode().rstrip("\n")
    return {**replace(blob, media_type=kind).to_json(), "annotations": {_METADATA: metadata, FILEPATH: path}}


def _config(manifest: Manifest, read_blob: Callable[[Descriptor], bytes]) -> bytes:
    """ModelPack's config: what Ollama's says, in its words."""
    facts = _facts(manifest, read_blob)
    count = _PARAMETER_COUNT.fullmatch(facts.model_type)
    described: dict[str, gojson.Json] = {
        "format": facts.model_format,
        # One digit behind the point is what the spec allows.
        "paramSize": f"{count[1]}{(count[2] or '')[:2]}{count[3]}" if count else "",
        "quantization": facts.file_type if facts.file_type != "unknown" else "",
    }
    document: dict[str, gojson.Json] = {
        "descriptor": {"family": facts.model_family} if facts.model_family else {},
        "config": {key: value for key, value in described.items() if value},
        "modelfs": {"type": "layers", "diffIds": [str(blob.digest) for blob in manifest.blobs]},
    }
    return gojson.encode(document)


def _facts(manifest: Manifest, read_blob: Callable[[Descriptor], bytes]) -> Config:
    if manifest.config.size > MAX_CONFIG_BYTES:
        return Config()
    try:
        return Config.parse(read_blob(manifest.config))
    except InvalidManifestError:  # Another tool's; it is carried, and need not be understood.
        return Config()
