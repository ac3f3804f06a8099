"""Describe: a stored model back as the Modelfile that builds it, and its parts as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ..store import gojson, manifest
from ..store.digest import Digest
from ..store.errors import CorralError, IntegrityError
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from . import nodes
from .parameters import PARAMETERS, Value
from .parser import parse
from .plan import ContentLayer, FileLayer, Layer, plan
from .recipe import check
from .source import Span
from .sources import Sources, read_config, read_parameters

MAX_TEXT_BYTES = 64 << 20
_NOWHERE = Span(0, 0)
_INT64 = 2**63 - 1


class StoredMessage(msgspec.Struct):
    """One message of a messages layer."""

    role: str = ""
    content: str = ""


def read_text(store: Store, layers: Iterable[Layer], *media_types: str) -> str:
    """The last layer of these types as text, "" without one."""
    return _content(store, layers, *media_types).decode("utf-8", "replace")


def _content(store: Store, layers: Iterable[Layer], *media_types: str) -> bytes:
    found = [layer for layer in layers if layer.media_type in media_types]
    match found[-1:]:
        case [ContentLayer() as layer]:
            return layer.data
        case [Descriptor() as layer]:
            return store.blobs.read(layer, MAX_TEXT_BYTES)
        case _:
            return b""


def read_licenses(store: Store, model: Manifest) -> list[str]:
    """The texts of all license layers, in order."""
    layers = model.of_type(manifest.LICENSE)
    return [store.blobs.read(layer, MAX_TEXT_BYTES).decode("utf-8", "replace") for layer in layers]


def read_messages(store: Store, layers: Iterable[Layer]) -> list[StoredMessage]:
    """The conversation a model begins with. Raises IntegrityError when the layer is something else."""
    data = _content(store, layers, manifest.MESSAGES)
    try:
        return msgspec.json.decode(data, type=list[StoredMessage]) if data else []
    except (msgspec.DecodeError, RecursionError) as cause:
        raise IntegrityError(f"blob {Digest.of(data)}: not a list of messages: {cause}") from None


def describe(store: Store, model: Manifest) -> list[nodes.Instruction]:
    """The instructions that build this model again, in Ollama's order; weights are named by their blob's path."""
    config = read_config(store, model)
    found: list[nodes.Instruction] = []

    def blobs(kind: type[nodes.Instruction], media_type: str) -> None:
        found.extend(_node(kind, str(store.blobs.path(layer.digest))) for layer in model.of_type(media_type))

    def text(kind: type[nodes.Instruction], value: str) -> None:
        if value:
            found.append(_node(kind, value))

    blobs(nodes.From, manifest.MODEL)
    blobs(nodes.Adapter, manifest.ADAPTER)
    blobs(nodes.Draft, manifest.DRAFT)
    blobs(nodes.From, manifest.PROJECTOR)
    text(nodes.Template, read_text(store, model.layers, manifest.TEMPLATE, manifest.PROMPT))
    text(nodes.System, read_text(store, model.layers, manifest.SYSTEM))
    text(nodes.Renderer, config.renderer)
    text(nodes.Parser, config.parser)
    text(nodes.Requires, config.requires)
    found.extend(_parameters(read_parameters(store, model)))
    for license_text in read_licenses(store, model):
        text(nodes.License, license_text)
    for message in read_messages(store, model.layers):
        found.append(nodes.Message(message.content, _NOWHERE, _NOWHERE, message.role, _NOWHERE))
    return found


def changed(
    instructions: Iterable[nodes.Instruction], system: str, parameters: Mapping[str, Value]
) -> list[nodes.Instruction]:
    """The instructions with another SYSTEM, unless that is "", and with other values of these parameters."""
    kept = [
        one
        for one in instructions
        if not (isinstance(one, nodes.System) and system)
        and not (isinstance(one, nodes.Parameter) and one.name in parameters)
    ]
    return [*kept, *([_node(nodes.System, system)] if system else []), *_parameters(parameters)]


def _parameters(values: Mapping[str, Value]) -> Iterator[nodes.Parameter]:
    for name, value in sorted(values.items()):
        for item in value if isinstance(value, list) else [value]:
            yield nodes.Parameter(_plain(name, item), _NOWHERE, _NOWHERE, name, _NOWHERE)


def rebuilds(store: Store, model: Manifest, text: str) -> bool:
    """Whether `create` would make this very manifest of the text; one that another tool wrote may differ in its bytes."""
    try:
        modelfile = parse(text)
        recipe, _ = check(modelfile)
        base, extras = Sources(store, modelfile, store.root).find(recipe).checked()
    except CorralError:
        return False
    planned = plan(recipe, base, extras)
    config = planned.config.encode()
    layers = [_descriptor(store, layer) for layer in planned.layers]
    built = Manifest.build(Descriptor(manifest.CONFIG_TYPE, Digest.of(config), len(config)), layers)
    return built.digest == model.digest


def _descriptor(store: Store, layer: Layer) -> Descriptor:
    match layer:
        case Descriptor():
            return layer
        case ContentLayer():
            return Descriptor(layer.media_type, Digest.of(layer.data), len(layer.data))
        case FileLayer():  # described by the path of its blob
            digest = Digest.from_filename(layer.path.name)
            return Descriptor(layer.media_type, digest, store.blobs.path(digest).stat().st_size)


def _node(kind: type[nodes.Instruction], value: str) -> nodes.Instruction:
    return kind(value, _NOWHERE, _NOWHERE)


def _plain(name: str, value: Value) -> str:
    spec = PARAMETERS.get(name)
    match value:
        case bool():
            return "true" if value else "false"
        case int() if spec and spec.kind == "float":
            return gojson.number(float(value))
        case int():
            # An integer that Ollama's float64 rounded out of int64 is stored the same when the outermost one is given.
            return str(max(-_INT64 - 1, min(value, _INT64)))
        case float():
            return gojson.number(value)
        case _:
            return str(value)
