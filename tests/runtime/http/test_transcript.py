"""A transcript: what Ollama 0.33 answers to requests of every kind, in tests/golden/transcript, and that this server does.

A row asks something and has the reply's status (200 unless it says another), and of the rest what clients look at: `type`
and `headers`, its `text`, the JSON that it `says`, or a `part` of it, the `shape` of it, or for a stream the shapes of
its `chunks` in their order, of which each may come several times. Where Corral means to do otherwise, `why` says why, and
the row has what Corral does. In a shape, a text is the name of another one or of a type, or `=` and a JSON value; a field
with `?` may be missing, and others than those named may not be there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from tests.runtime.conftest import PATIENCE, Serve

FOLDER = Path(__file__).parents[2] / "golden" / "transcript"
SHAPES: dict[str, Any] = json.loads((FOLDER / "shapes.json").read_text())
FILES = sorted(path for path in FOLDER.glob("*.json") if path.stem != "shapes")
TYPES: dict[str, type] = {"string": str, "int": int, "bool": bool, "object": dict}
KEYS = {"ask", "send", "body", "raw", "status", "type", "headers", "text", "says", "part", "shape", "chunks", "why"}


def differences(value: object, shape: Any, where: str = "") -> list[str]:
    """What of a JSON value is not as the shape has it."""
    match shape:
        case str() if shape in SHAPES:
            return differences(value, SHAPES[shape], where)
        case str() if shape.startswith("="):
            return [] if value == json.loads(shape[1:]) else [f"{where}: {value!r}, not {shape[1:]}"]
        case str():
            return [] if is_of(value, shape) else [f"{where}: {value!r} is no {shape}"]
        case [item]:
            if not isinstance(value, list):
                return [f"{where}: {value!r} is no list"]
            items = cast("list[object]", value)
            return [said for number, one in enumerate(items) for said in differences(one, item, f"{where}[{number}]")]
        case dict():
            if not isinstance(value, dict):
                return [f"{where}: {value!r} is no object"]
            return list(of_fields(cast("dict[str, object]", value), cast("dict[str, Any]", shape), where))
        case _:
            raise AssertionError(f"no shape: {shape!r}")


def of_fields(value: Mapping[str, object], shape: Mapping[str, Any], where: str) -> list[str]:
    """The same, of an object."""
    fields = {name.removesuffix("?"): item for name, item in shape.items()}
    needed = {name for name in shape if not name.endswith("?")}
    return [
        *(f"{where}.{name} is missing" for name in sorted(needed - value.keys())),
        *(f"{where}.{name} is one too many" for name in sorted(value.keys() - fields)),
        *(
            said
            for name in sorted(value.keys() & fields)
            for said in differences(value[name], fields[name], f"{where}.{name}")
        ),
    ]


def is_of(value: object, kind: str) -> bool:
    """Whether a value is of the type of this name."""
    match kind:
        case "number":
            return type(value) in (int, float)
        case "hex":
            return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
        case "date":
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        case _:
            return type(value) is TYPES[kind]


def of_stream(chunks: list[object], shapes: list[Any]) -> list[str]:
    """What of a stream is not as it should be: each shape at least once, in this order."""
    at = -1
    for chunk in chunks:
        if wrong := differences(chunk, shapes[at + 1]) if at + 1 < len(shapes) else ["one too many"]:
            if at < 0 or differences(chunk, shapes[at]):
                return [f"{chunk}: {said}" for said in wrong]
        else:
            at += 1
    return [] if at == len(shapes) - 1 else [f"no {shapes[at + 1]} came"]


def chunks_of(reply: requests.Response) -> list[object]:
    """The objects of a stream, NDJSON or SSE."""
    if not reply.headers["Content-Type"].startswith("text/event-stream"):
        return [json.loads(line) for line in reply.text.splitlines()]
    data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def asked(url: str, row: Mapping[str, Any]) -> requests.Response:
    """The reply to a row, at this very path."""
    method, path = row["ask"].split(" ")
    data = row["raw"].encode() if "raw" in row else json.dumps(row["body"]).encode() if "body" in row else None
    request = requests.Request(method, url + "/", headers=row.get("send"), data=data).prepare()
    request.url = url + path  # as it is written
    with requests.Session() as session:
        return session.send(request, timeout=PATIENCE, allow_redirects=False)


def wrong_with(reply: requests.Response, row: Mapping[str, Any]) -> list[str]:
    """What of a reply is not as the row has it."""
    wrong: list[str] = []
    if reply.status_code != row.get("status", 200):
        wrong.append(f"{reply.status_code}: {reply.text}")
    kind = reply.headers.get("Content-Type", "")
    if not kind.startswith(row.get("type", "")):
        wrong.append(f"Content-Type: {kind}")
    wrong += [f"{name}: {reply.headers.get(name)}" for name, at in row.get("headers", {}).items()
              if (reply.headers.get(name) or "").removeprefix(reply.request.url or "") != at]  # fmt: skip
    if "text" in row and reply.text != row["text"]:
        wrong.append(reply.text)
    if "says" in row and reply.json() != row["says"]:
        wrong.append(reply.text)
    if "shape" in row:
        wrong += differences(reply.json(), row["shape"])
    if "chunks" in row:
        wrong += of_stream(chunks_of(reply), row["chunks"])
    for name, value in row.get("part", {}).items():
        if reply.json().get(name) != value:
            wrong.append(f"{name}: {reply.json().get(name)!r}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_answers_as_ollama_does(serve: Serve, fake_models: Path, tmp_path: Path, path: Path) -> None:
    wrong: list[tuple[str, list[str]]] = []
    with serve(models=shutil.copytree(fake_models, tmp_path / "models")) as server:
        for row in json.loads(path.read_text()):
            assert row.keys() <= KEYS, row
            if found := wrong_with(asked(server.url, row), row):
                wrong.append((f"{row['ask']} {row.get('body', '')}", found))
    assert wrong == []


def test_the_transcript_is_long_and_says_of_each_reply_more_than_its_status() -> None:
    rows = [row for path in FILES for row in json.loads(path.read_text())]
    assert len(rows) >= 120
    assert all(row.keys() & {"text", "says", "shape", "chunks", "headers"} or row.get("status") == 204 for row in rows)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, "string"),
        (True, "int"),
        (1, "=2"),
        ({}, {"a": "int"}),
        ({"a": 1, "b": 1}, {"a": "int"}),
        ({"a": "1"}, {"a?": "int"}),
        ([1, "2"], ["int"]),
        ({}, ["int"]),
        ("2026-01-01T00:00:00", "date"),
        ({"status": "failure"}, "success"),
    ],
)
def test_error_what_is_not_of_a_shape(value: object, shape: object) -> None:
    assert len(differences(value, shape)) == 1


@pytest.mark.parametrize("chunks", [[], [1], ["a"], [1, "a", 1], [1, "a", True]])
def test_error_a_stream_in_another_order(chunks: list[object]) -> None:
    assert of_stream([1, 1, "a"], ["int", "string"]) == []
    assert of_stream(chunks, ["int", "string"])
