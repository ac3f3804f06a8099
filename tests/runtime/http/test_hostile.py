"""Requests meant to do harm. Each gets an answer, and the server goes on serving everybody else."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import requests

from tests.runtime.conftest import PATIENCE, FakeServer

GENERATE: dict[str, Any] = {"model": "tiny", "prompt": "say:fine;", "stream": False}
INFERENCE = pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions"])


@pytest.fixture(autouse=True)
def _still_serves(fake: FakeServer) -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    assert fake.post("/api/generate", GENERATE).json()["response"] == "fine"
    assert fake.get("/api/ps")["models"]


def request_for(path: str, text: str) -> dict[str, Any]:
    """A request with this text."""
    if path == "/api/generate":
        return {"model": "tiny", "prompt": text, "stream": False}
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": False}


def answer(reply: requests.Response) -> str:
    """The text of any of the replies."""
    assert reply.status_code == 200, reply.text
    body = reply.json()
    if "response" in body:
        return body["response"]
    return (body.get("message") or body["choices"][0]["message"])["content"]


@pytest.mark.parametrize(
    "options",
    [
        {"num_predict": -5},
        {"num_predict": -(10**30)},
        {"num_predict": 10**30},
        {"num_ctx": 10**9},
        {"num_ctx": 10**30},
        {"num_ctx": 0},
        {"num_keep": 10**30},
        {"num_keep": -(10**30)},
        {"seed": 10**30},
        {"seed": -(10**30)},
        {"seed": 1e300},
        {"top_k": 10**30},
        {"top_k": -(10**30)},
        {"repeat_last_n": 10**30, "repeat_penalty": 2},
        {"temperature": 1e300, "top_p": -1e300, "min_p": 1e-320},
        {"temperature": -1, "repeat_penalty": 0, "typical_p": -1},
        {"num_thread": 10**30},
        {"num_batch": 10**30},
        {"num_batch": -1},
        {"num_batch": 1},
        {"num_gpu": -(10**30), "main_gpu": 10**30},
    ],
)
def test_no_number_is_too_strange(fake: FakeServer, options: dict[str, float]) -> None:
    assert answer(fake.post("/api/generate", GENERATE | {"options": options})) == "fine"


def test_a_context_too_small_for_anything_is_the_smallest_there_is(fake: FakeServer) -> None:
    for num_ctx in (1, 2, 4):
        reply = fake.post("/api/generate", GENERATE | {"options": {"num_ctx": num_ctx}}).json()
        assert reply["prompt_eval_count"] <= 4
        assert reply["eval_count"] <= 10 * 4


@pytest.mark.parametrize("num_ctx", [0, -7, -(10**30)])
def test_a_context_of_nothing_is_not_given(fake: FakeServer, num_ctx: int) -> None:
    def tokens(options: dict[str, int]) -> int:
        body = {"model": "tiny", "prompt": "go", "stream": False, "options": options}
        return fake.post("/api/generate", body).json()["eval_count"]

    assert tokens({"num_ctx": num_ctx}) == tokens({}) > 10


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ['"options":{"temperature":%s}', '"keep_alive":%s', '"extra":%s'])
def test_error_what_is_no_json_number_is_refused(fake: FakeServer, word: str, field: str) -> None:
    body = json.dumps(GENERATE).replace("}", ", " + field % word + "}")
    reply = fake.post("/api/generate", body.encode())
    assert reply.status_code == 400
    assert word in reply.json()["error"]


@pytest.mark.parametrize("number", ["1" * 400, "1" * 5000, "1e400", "-1e400", "1" * 100_000], ids=len)
def test_error_numbers_beyond_all_bounds_are_an_answer_or_a_client_error(fake: FakeServer, number: str) -> None:
    for field in ('"options":{"num_ctx":%s}', '"options":{"temperature":%s}', '"keep_alive":%s', '"extra":%s'):
        body = json.dumps(GENERATE).replace("}", ", " + field % number + "}")
        assert fake.post("/api/generate", body.encode()).status_code in (200, 400)
    for field in ("max_tokens", "seed", "temperature"):
        body = json.dumps(request_for("/v1", "say:a;")).replace('"stream"', f'"{field}": {number}, "stream"')
        assert fake.post("/v1/chat/completions", body.encode()).status_code in (200, 400)


@pytest.mark.parametrize("depth", [500, 990, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
@INFERENCE
def test_error_deep_nesting_is_an_answer_or_a_client_error(
    fake: FakeServer, path: str, depth: int, start: str, end: str
) -> None:
    deep = start * depth + "1" + end * depth
    for body in (
        deep,
        f'{{"model":"tiny","options":{deep}}}',
        f'{{"model":"tiny","messages":{deep}}}',
        f'{{"model":"tiny","messages":[{{"role":"user","content":{deep}}}]}}',
        f'{{"model":"tiny","format":{deep}}}',
        f'{{"model":"tiny","x":{deep}}}',
    ):
        assert fake.post(path, body.encode()).status_code in (200, 400, 404)


def test_error_too_many_stop_texts_are_refused(fake: FakeServer) -> None:
    for count in (257, 900_000):
        stop = [f"stop {number}" for number in range(count)]
        reply = fake.post("/api/generate", GENERATE | {"options": {"stop": stop}})
        assert reply.status_code == 400
        assert reply.json()["error"] == f"{count} stop texts, at most 256 are taken"
        reply = fake.post("/v1/chat/completions", request_for("/v1", "say:fine;") | {"stop": stop})
        assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_the_same_stop_text_many_times_is_one(fake: FakeServer) -> None:
    options = {"stop": ["e"] * 100_000 + [f"{number}" for number in range(250)]}
    assert answer(fake.post("/api/generate", GENERATE | {"options": options})) == "fin"


def test_a_stop_text_may_be_long(fake: FakeServer) -> None:
    assert answer(fake.post("/api/generate", GENERATE | {"options": {"stop": ["fine" * 500_000]}})) == "fine"
    reply = fake.post("/api/generate", GENERATE | {"options": {"stop": ["x" * (70 << 20)]}})
    assert reply.status_code == 400
    assert "the stop texts have" in reply.json()["error"]


@INFERENCE
@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\udc00\ud800", r"\uD83D", r"\ud83d\u0041"])
def test_half_a_surrogate_pair_is_a_broken_character(fake: FakeServer, path: str, escape: str) -> None:
    body = json.dumps(request_for(path, "say:<HERE>;")).replace("<HERE>", escape)
    text = answer(fake.post(path, body.encode()))
    assert "�" in text
    assert text.replace("�", "").replace("A", "") == ""


@pytest.mark.parametrize("field", ["model", "system", "template", "keep_alive", "format", "think"])
def test_half_a_surrogate_pair_in_any_field_is_an_answer_or_a_client_error(fake: FakeServer, field: str) -> None:
    body = json.dumps(GENERATE | {field: "<HERE>"}).replace("<HERE>", r"\ud800")
    assert fake.post("/api/generate", body.encode()).status_code in (200, 400, 404)
    assert fake.post("/api/show", body.encode()).status_code in (200, 400, 404)


def test_whole_pairs_and_escaped_backslashes_are_kept(fake: FakeServer) -> None:
    body = json.dumps(GENERATE | {"prompt": "say:<HERE>;"}).replace(
        "<HERE>", r"\ud83d\ude00 \\ud800 \\\ud83d\ude00 \u00e9"
    )
    assert answer(fake.post("/api/generate", body.encode())) == r"😀 \ud800 \😀 é"


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x80" * 9])
@INFERENCE
def test_bytes_that_are_no_utf8_are_broken_characters(fake: FakeServer, path: str, raw: bytes) -> None:
    body = json.dumps(request_for(path, "say:<HERE>;")).encode().replace(b"<HERE>", raw)
    assert set(answer(fake.post(path, body))) == {"�"}


@INFERENCE
def test_a_nul_is_a_character(fake: FakeServer, path: str) -> None:
    assert answer(fake.post(path, request_for(path, "say:a\0b\x1b;"))) == "a\0b\x1b"


def test_a_large_prompt_is_cut_and_a_huge_one_refused(fake: FakeServer) -> None:
    large = GENERATE | {"prompt": "x" * 1_000_000 + "say:fine;"}
    assert answer(fake.post("/api/generate", large)) == "fine"
    reply = fake.post("/api/generate", GENERATE | {"prompt": "x" * (9 << 20)})
    assert reply.status_code == 400
    assert "the prompt has" in reply.json()["error"]


@pytest.mark.parametrize("value", [b"[],", b"{},", b'{"a":1},', b'"a",', b"0,", b'"\\n\\n",'])
def test_error_more_values_than_anybody_needs_are_refused(fake: FakeServer, value: bytes) -> None:
    body = b'{"model":"tiny","prompt":"say:fine;","stream":false,"x":[' + value * (1_000_000 // len(value)) + b"0]}"
    assert answer(fake.post("/api/generate", body)) == "fine"
    body = body.replace(value, value * len(value), 1_000_000 // len(value))
    for path in ("/api/generate", "/v1/chat/completions"):
        reply = fake.post(path, body)
        assert reply.status_code == 400
        assert "the request body has too many values" in reply.text


def test_error_a_body_without_end_is_refused(fake: FakeServer) -> None:
    def flood() -> Iterator[bytes]:
        yield b'{"model":"tiny","prompt":"'
        for _ in range(129):
            yield b"x" * (1 << 20)

    reply = requests.post(f"{fake.url}/api/generate", data=flood(), timeout=PATIENCE)
    assert reply.status_code == 413
    assert "request body of more than" in reply.json()["error"]


@pytest.mark.parametrize(
    "wire",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ],
)
def test_what_is_no_http_does_no_harm(fake: FakeServer, wire: bytes) -> None:
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(wire)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(PATIENCE)
        try:
            while connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
    assert requests.get(f"{fake.url}/", timeout=PATIENCE).text == "Ollama is running"
