"""Honest contexts: what does not fit is never left out without a word, in any dialect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.http.test_generate import lines
from tests.runtime.http.test_openai_api import events
from tests.runtime.weights import create

LONG = "x" * 300
"""The fake model's tokens are bytes."""
TALK = [
    {"role": "system", "content": "Short."},
    {"role": "user", "content": LONG},
    {"role": "assistant", "content": LONG},
]
QUESTION = {"role": "user", "content": "say:yes;"}
FITTING = {"num_ctx": 200}
BODIES: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": [*TALK, QUESTION], "options": FITTING},
    "/api/generate": {"prompt": LONG + "say:yes;", "options": FITTING},
    "/v1/chat/completions": {"messages": [*TALK, QUESTION], "options": FITTING},
    "/v1/completions": {"prompt": LONG + "say:yes;", "options": FITTING},
}
ALL = pytest.mark.parametrize("path", list(BODIES))


def body(path: str, **more: object) -> dict[str, object]:
    return {"model": "twin", **BODIES[path], **more}


@ALL
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_left_out_is_told_in_a_header_and_in_the_reply(fake: FakeServer, path: str, *, stream: bool) -> None:
    reply = fake.post(path, body(path, stream=stream))
    assert reply.status_code == 200, reply.text
    said = reply.headers["X-Corral-Truncated"]
    assert reply.headers["X-Corral-Num-Ctx"] == "200"
    if not stream:
        told = reply.json()
    elif path.startswith("/api"):
        told = lines(reply)[-1]
    else:
        told = events(reply)[-1]
    cut = told["truncated"]
    assert said == f"messages={cut['messages']}, tokens={cut['tokens']}"
    # Of a conversation whole messages go, and of what is then too long the middle.
    assert cut["messages"] > 0
    assert (cut["tokens"] > 0) == ("chat" not in path)


@ALL
def test_what_fits_is_not_spoken_of(fake: FakeServer, path: str) -> None:
    short = {"model": "tiny", "messages": [QUESTION], "prompt": "say:yes;", "stream": False}
    reply = fake.post(path, short | {"options": {"num_ctx": 250}})
    assert reply.status_code == 200, reply.text
    assert "X-Corral-Truncated" not in reply.headers
    assert not {"truncated", "num_ctx"} & set(reply.json())


@pytest.mark.parametrize(("spare", "said"), [(1, None), (0, "messages=1, tokens=0")])
def test_whole_messages_go_where_no_token_is_left_to_the_answer(fake: FakeServer, spare: int, said: str | None) -> None:
    talk = [{"role": role, "content": "Hm."} for role in ("system", "user", "assistant")]
    body = {"model": "tiny", "messages": [*talk, QUESTION], "stream": False}
    tokens = fake.post("/api/chat", body).json()["prompt_eval_count"]
    reply = fake.post("/api/chat", body | {"options": {"num_ctx": tokens + spare, "num_predict": 1}})
    assert reply.headers.get("X-Corral-Truncated") == said


@ALL
def test_error_whoever_wants_nothing_left_out_is_told_what_does_not_fit(fake: FakeServer, path: str) -> None:
    reply = fake.post(path, body(path, truncate=False))
    assert reply.status_code == 400
    assert "the prompt is longer than the context length currently available to the model" in reply.text
    assert "tokens and one of the answer, it holds 200; shorten the prompt, raise num_ctx, " in reply.text


def test_error_nothing_is_left_out_for_anthropics_clients_either(fake: FakeServer) -> None:
    asked = {"messages": [QUESTION | {"content": LONG}], "options": FITTING, "max_tokens": 5}
    assert fake.post("/v1/messages", {"model": "twin", **asked}).headers["X-Corral-Truncated"]
    reply = fake.post("/v1/messages", {"model": "twin", **asked, "truncate": False})
    assert reply.status_code == 400
    assert "it holds 200" in reply.json()["error"]["message"]


@ALL
def test_error_a_model_may_want_nothing_left_out(serve: Serve, cli: Cli, path: str) -> None:
    create(cli, "strict", modelfile="PARAMETER truncate false", context=4096)
    with serve(models=cli.models) as server:
        reply = server.post(path, body(path) | {"model": "strict"})
        assert reply.status_code == 400, reply.text
        assert "tokens and one of the answer, it holds 200" in reply.text


def test_a_context_that_the_model_has_not_is_made_smaller_and_that_is_told(fake: FakeServer) -> None:
    whole = fake.post(
        "/api/chat", {"model": "tiny", "messages": [QUESTION], "stream": False, "options": {"num_ctx": 1 << 20}}
    )
    given = int(whole.headers["X-Corral-Num-Ctx"])
    assert whole.json()["num_ctx"] == {"asked": 1 << 20, "given": given}
    assert given < 1 << 20


def test_a_smaller_context_needs_no_other_load(serve: Serve) -> None:
    with serve() as server:
        for num_ctx in (128, 64, 100):
            assert server.post(
                "/api/chat", {"model": "tiny", "messages": [QUESTION], "options": {"num_ctx": num_ctx}}
            ).ok
        assert len(server.starts) == 1
