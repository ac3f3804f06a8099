"""OpenAPI: what the server says of itself, at /openapi.json for programs and at /docs for people.

The requests are described by the types that read them. What no type says (the replies, the errors, the meaning of each
field) is in openapi.json beside this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ...modelfile.level import API_LEVEL
from . import anthropic_types, embeddings, openai_types, types

_REQUESTS = (
    types.GenerateRequest,
    types.ChatRequest,
    types.ShowRequest,
    types.CopyRequest,
    types.ModelRequest,
    types.CreateRequest,
    types.TransferRequest,
    openai_types.ChatCompletionRequest,
    openai_types.CompletionRequest,
    embeddings.EmbedRequest,
    embeddings.LegacyEmbedRequest,
    embeddings.OpenAIEmbedRequest,
    anthropic_types.MessagesRequest,
)
_SCHEMAS = "#/components/schemas/"
_ERRORS = {"anthropic": "AnthropicError", "openai": "OpenAIError"}
_ALWAYS = ("400", "401", "403", "431", "500", "503")
_WITH_BODY = ("408", "413", "499")
_PARAMETER = re.compile(r"{(\w+)}")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def openapi_routes() -> list[Route]:
    """Method and path of both handlers."""
    return [Route("/openapi.json", _openapi, methods=["GET"]), Route("/docs", _docs, methods=["GET"])]


@cache
def document() -> Mapping[str, Any]:
    """The OpenAPI document; the same object each time."""
    said = json.loads(_data("openapi.json"))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Corral",
            "version": API_LEVEL,
            "description": "The APIs of Ollama, OpenAI and Anthropic over the models of this machine."
            " HEAD is answered where GET is, but not by `/api/ps`, `/api/status` and `/v1/models`.",
        },
        "tags": [{"name": name, "description": text} for name, text in said["tags"].items()],
        "security": [{}, *({name: list[str]()} for name in said["security"])],
        "paths": _paths(said),
        "components": {
            "securitySchemes": said["security"],
            "schemas": said["schemas"] | dict(_request_schemas(said["fields"], said["ignored"])),
        },
    }


def _paths(said: Mapping[str, Any]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for route, operation in said["operations"].items():
        method, path = route.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, said)
    for path, original in said["same"].items():
        paths[path] = {
            method: operation | {"operationId": _identity(method, path), "summary": f"The same as {original}."}
            for method, operation in paths[original].items()
        }
    return paths


def _operation(method: str, path: str, given: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    error = {"application/json": _ERRORS.get(given["tag"], "OllamaError")}
    described: dict[str, Any] = {
        "operationId": _identity(method, path),
        "tags": [given["tag"]],
        "summary": given["summary"],
        "responses": {
            **{status: _reply("Done.", given["replies"]) for status in given.get("statuses", ["200"])},
            **{
                status: _reply(said["errors"][status], {} if method == "HEAD" else error)
                for status in sorted({*_ALWAYS, *given.get("errors", ()), *(() if method == "GET" else _WITH_BODY)})
            },
        },
    }
    if given.get("open"):
        described["security"] = []
    if names := _PARAMETER.findall(path):
        described["parameters"] = [
            {"name": name, "in": "path", "required": True} | said["parameters"][name] for name in names
        ]
    if "request" in given:
        described["requestBody"] = {
            "required": True,
            "content": _content({"application/json": given["request"]}),
        }
    elif given.get("upload"):
        described["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return described


def _reply(description: str, content: Mapping[str, str]) -> dict[str, Any]:
    return {"description": description} | ({"content": _content(content)} if content else {})


def _content(schemas: Mapping[str, str]) -> dict[str, Any]:
    """What a body is, for each media type the name of a schema."""
    return {kind: {"schema": {"$ref": _SCHEMAS + name}} for kind, name in schemas.items()}


def _request_schemas(
    fields: Mapping[str, str], ignored: Mapping[str, list[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas of the requests, each field with its meaning; without what a route takes no notice of."""
    _, schemas = msgspec.json.schema_components(_REQUESTS, ref_template=_SCHEMAS + "{name}")
    for name, schema in schemas.items():
        yield (
            name,
            schema
            | {
                "properties": {
                    field: value | {"description": fields.get(f"{name}.{field}") or fields[field]}
                    for field, value in schema["properties"].items()
                    if field not in ignored.get(name, ())
                }
            },
        )


def _identity(method: str, path: str) -> str:
    words = re.findall(r"\w+", path)
    return "-".join([method.lower(), *words])


@cache
def _encoded() -> bytes:
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _page() -> str:
    import jinja2  # only here: it takes its time to load

    return jinja2.Environment(autoescape=True, trim_blocks=True).from_string(_data("docs.html")).render(document())


def _data(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text("utf-8")


async def _openapi(_: Request) -> Response:
    return Response(_encoded(), media_type="application/json")


async def _docs(_: Request) -> Response:
    return HTMLResponse(_page(), headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})
