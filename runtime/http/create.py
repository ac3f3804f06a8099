"""Create: POST /api/create (spec part 7.8), by the compiler that `corral create` uses: the request becomes the syntax tree
that a Modelfile of the same meaning has.

What a request names is a stored model or a blob. No text of it is ever taken for a path on this machine.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...modelfile import nodes
from ...modelfile.builder import build
from ...modelfile.parameters import PARAMETERS, ParameterError, read_options
from ...modelfile.parser import read
from ...modelfile.source import Source, Span
from ...modelfile.sources import Resolver
from ...store import gguf
from ...store.errors import InputError, shown
from ...store.local import Store
from ...store.name import Name
from ...store.progress import Report
from ..request import UnsupportedError
from .blobs import Uploads, read_digest
from .errors import answering, managing_error
from .named import NamedBlobs
from .statuses import Operations
from .stream import read_body
from .transfers import read_name
from .types import CreateRequest, decode

_NOWHERE = Span(0, 0)
_NO_FOLDER = Path(os.devnull)
"""Where names are looked for as files, before they are taken for models: in no folder there is none."""
_MAX_FILES = 1000
_ROLES = ("system", "user", "assistant")
_NO_PATH = "no file of this machine is opened: upload it to /api/blobs/sha256:… and name it as @sha256:…"


class _Name(nodes.From):
    """FROM a model, whatever its name looks like."""

    @property
    def is_path(self) -> bool:
        return False


class Creation:
    """The handler. `fetch` brings a base model that is not here."""

    def __init__(self, store: Store, operations: Operations, uploads: Uploads, fetch: Resolver) -> None:
        self._store = store
        self._operations = operations
        self._uploads = uploads
        self._fetch = fetch

    def routes(self) -> list[Route]:
        """Method and path of the handler."""
        return [Route("/api/create", answering(self.create, managing_error), methods=["POST"])]

    async def create(self, request: Request) -> Response:
        """A model from a stored one or from blobs."""
        asked = await asyncio.to_thread(decode, await read_body(request), CreateRequest)
        return await self._operations.respond(request, partial(self._create, asked), streams=asked.stream is not False)

    def _create(self, asked: CreateRequest, report: Report) -> None:
        name = _checked(asked)
        blobs = NamedBlobs(self._store, report)
        with blobs.named():
            modelfile = _modelfile(asked, blobs)
            build(name, modelfile, self._store, folder=_NO_FOLDER, resolver=self._resolve, report=report)
        self._uploads.used(blobs.digests)

    def _resolve(self, name: Name, report: Report) -> None:
        """Pull a base model; that this is done does not end what it is for."""
        self._fetch(name, lambda step: None if step.status == "success" else report(step))


def _checked(asked: CreateRequest) -> Name:
    """The name of what is to be, once the request is seen to be well formed. Raises InputErrors, in Ollama's order."""
    for name, digest in [*(asked.files or {}).items(), *(asked.draft_files or {}).items()]:
        if not _is_relative(name):
            raise InputError("file path must be relative", hint=f"{shown(name)} is not")
        if not digest:
            raise InputError("invalid digest format")
    if asked.draft_quantize and not asked.draft_files:
        raise InputError("--draft-quantize requires a DRAFT model")
    if not all((asked.adapters or {}).values()):
        raise InputError("invalid digest format")
    name = read_name(asked.model or asked.name or "")
    if name.digest:
        raise InputError("invalid model name", hint="a digest is what a model gets, not what it is given")
    if sum(len(files or ()) for files in (asked.files, asked.draft_files, asked.adapters)) > _MAX_FILES:
        raise InputError(f"more than {_MAX_FILES} files")
    if asked.quantize or asked.quantization or asked.draft_quantize:
        raise UnsupportedError("quantize is not supported yet; upload a GGUF that is quantized")
    if asked.remote_host:
        raise UnsupportedError("remote models are not supported")
    if asked.info:
        raise UnsupportedError("info is not supported: what a model is, is read from its weights; leave it out")
    if not (asked.base or asked.modelfile or asked.files is not None):
        raise InputError("neither 'from' or 'files' was specified")
    return name


def _is_relative(name: str) -> bool:
    """Whether it is the name of a file below the folder that the client has in mind."""
    is_plain = "\\" not in name and "\0" not in name and name not in ("", ".", "..")
    return is_plain and posixpath.normpath(name) == name and not name.startswith(("/", "../"))


def _modelfile(asked: CreateRequest, blobs: NamedBlobs) -> nodes.Modelfile:
    """The syntax tree of what is asked for. Raises InputErrors."""
    if asked.base or asked.files is not None or not asked.modelfile:
        return nodes.Modelfile(tuple(_fields(asked, blobs)), Source(""))
    written = read(Source.decode(asked.modelfile.encode("utf-8", "replace")))
    own = [_resolved(node, blobs) if isinstance(node, nodes.Instruction) else node for node in written.nodes]
    return replace(written, nodes=(*own, *_fields(asked, blobs)))


def _fields(asked: CreateRequest, blobs: NamedBlobs) -> Iterator[nodes.Instruction]:
    """The instructions that the request's fields stand for."""
    if asked.base:
        read_name(asked.base)
        yield _Name(asked.base, _NOWHERE, _NOWHERE)
    elif asked.files is not None:
        for path in blobs.weights(asked.files):
            yield nodes.From(str(path), _NOWHERE, _NOWHERE)
    for name, digest in (asked.draft_files or {}).items():
        yield nodes.Draft(str(blobs.path(read_digest(digest), name)), _NOWHERE, _NOWHERE)
    yield from _adapters(asked.adapters or {}, blobs)
    texts = {
        nodes.Template: asked.template,
        nodes.System: asked.system,
        nodes.Renderer: asked.renderer,
        nodes.Parser: asked.parser,
        nodes.Requires: asked.requires,
    }
    for kind, text in texts.items():
        if text:
            yield kind(text, _NOWHERE, _NOWHERE)
    for text in [asked.license] if isinstance(asked.license, str) else asked.license or ():
        yield nodes.License(text, _NOWHERE, _NOWHERE)
    yield from _parameters(asked.parameters or {})
    for message in asked.messages or ():
        if message.role not in _ROLES:
            raise InputError('message role must be one of "system", "user", or "assistant"')
        yield nodes.Message(message.content or "", _NOWHERE, _NOWHERE, message.role, _NOWHERE)


def _adapters(adapters: Mapping[str, str], blobs: NamedBlobs) -> Iterator[nodes.Adapter]:
    if len(adapters) > 1:
        raise InputError("only one adapter is currently supported")
    for name, digest in adapters.items():
        path = blobs.path(read_digest(digest), name)
        if not gguf.is_gguf(path):
            raise InputError("supplied file was not in GGUF format")
        yield nodes.Adapter(str(path), _NOWHERE, _NOWHERE)


def _parameters(given: Mapping[str, object]) -> Iterator[nodes.Parameter]:
    """The values as a Modelfile would have them. Raises ParameterError for one of the wrong type."""
    values, others = read_options(given)
    for name in others:  # the compiler knows what to say of each
        yield nodes.Parameter("", _NOWHERE, _NOWHERE, name, _NOWHERE)
    for name, value in values.items():
        spec = PARAMETERS[name]
        if spec.kind == "int" and value != given[name]:
            raise ParameterError(f'option "{name}" must be of type integer', about="value")
        for item in value if isinstance(value, list) else [value]:
            text = item if isinstance(item, str) else repr(item).lower()
            yield nodes.Parameter(text, _NOWHERE, _NOWHERE, name, _NOWHERE)


def _resolved(node: nodes.Instruction, blobs: NamedBlobs) -> nodes.Instruction:
    """An instruction of a Modelfile's text; one that named a file may name a blob. Raises InputError for any other file."""
    if not isinstance(node, nodes.From | nodes.Adapter | nodes.Draft) or not node.value:
        return node
    digest = blobs.digest_of(node.value)
    if digest:
        return replace(node, value=str(blobs.path(digest, node.value)))
    if not isinstance(node, nodes.From) or node.is_path:
        raise InputError(f"{node.keyword} {shown(node.value)}: {_NO_PATH}")
    read_name(node.value)
    return _Name(node.value, node.span, node.value_span)
