"""Docker Model Runner's artifacts: docker/model-spec, and what docker/model-runner writes (pkg/distribution). Pure.

Version 0.1 tells files by their layers' types alone, 0.2 also by a path. The published spec and the program spell projectors
and adapters differently; both are read.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import msgspec

from ...store.errors import shown
from ...store.kept import MAX_BLOBS, MAX_BYTES
from ...store.manifest import ADAPTER, LICENSE, MODEL, PROJECTOR, Descriptor
from .document import Document, file_of, is_license, is_projector
from .files import File, Parameters, gathered, without_gguf
from .packed import Packed, Small, once

NAME = "docker"
_DOCKERS = "application/vnd.docker.ai."
_CONFIG = f"{_DOCKERS}model.config."
_VERSIONS = ("v0.1+json", "v0.2+json")

CHAT_TEMPLATE = f"{_DOCKERS}chat.template.jinja"
"""A layer that stays with the model under its own type: it is what the packer wants instead of the GGUF's own template."""
_GGUF = f"{_DOCKERS}gguf.v3"
_WEIGHTS = {
    _GGUF: MODEL,
    f"{_GGUF}.mmproj": PROJECTOR,
    f"{_DOCKERS}mmproj": PROJECTOR,
    f"{_GGUF}.lora": ADAPTER,
    f"{_DOCKERS}lora": ADAPTER,
}
_LICENSE, _FILE = f"{_DOCKERS}license", f"{_DOCKERS}model.file"
_MAX_CONTEXT = (1 << 31) - 1


def read(document: Document) -> Packed | None:
    """The model of such an artifact; None for anything else. Raises InvalidManifestError where it is of no use here."""
    kind = document.config.media_type
    if not kind.startswith(_CONFIG):
        return None
    if kind.removeprefix(_CONFIG) not in _VERSIONS:
        why = f"it is a model of Docker Model Runner with a config of type {shown(kind)}, and v0.1 and v0.2 are read"
        raise document.wrong(why)
    if document.config.size > MAX_BYTES:
        raise document.wrong(f"its config has {document.config.size} bytes, at most {MAX_BYTES} are read")
    weights: list[File] = []
    texts: list[Descriptor] = []
    for layer in document.layers:
        blob, name = layer.descriptor, file_of(layer)
        if blob.media_type in _WEIGHTS:
            role = PROJECTOR if is_projector(name) else _WEIGHTS[blob.media_type]
            weights.append(File(name, replace(blob, media_type=role)))
        elif blob.media_type == _LICENSE or (blob.media_type == _FILE and is_license(name)):
            texts.append(replace(blob, media_type=LICENSE))
        elif blob.media_type == CHAT_TEMPLATE:
            texts.append(blob)
    if not weights:
        raise without_gguf(document, "a model of Docker Model Runner", document.layers)
    packed = gathered(NAME, document, weights, texts, partial(_parameters, document))
    return replace(packed, small=once([document.config, *packed.small])[:MAX_BLOBS])


class _Facts(msgspec.Struct):
    context_size: int | None = None


class _Config(msgspec.Struct):
    config: _Facts | None = None


_decoder = msgspec.json.Decoder(_Config)


def _parameters(document: Document, small: Small) -> Parameters:
    """The context size in tokens, where the config names one."""
    try:
        facts = _decoder.decode(small[document.config.digest]).config
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise document.wrong(f"its config: {cause}") from None
    size = facts.context_size if facts else None
    if size is None or size <= 0:
        return {}
    if size > _MAX_CONTEXT:
        raise document.wrong(f"its context_size is {shown(str(size), 20)}, expected at most {_MAX_CONTEXT}")
    return {"num_ctx": size}
