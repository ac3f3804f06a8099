"""Anthropic's routes: shapes, events, what becomes of blocks, tools and thoughts."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any

import pytest
import requests

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve, eventually
from tests.runtime.http.test_answers import ARGUMENTS, CALL, TEMPLATE, THOUGHT
from tests.runtime.weights import create

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "What it is like outside", "input_schema": SCHEMA}
BILLING = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch="


@pytest.fixture(scope="module")
def clever(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Generator[FakeServer]:
    """A server with a model that can think and call tools, and one that repeats who said what."""
    folder = tmp_path_factory.mktemp("clever")
    cli = Cli(folder / "models", folder)
    create(cli, "clever", modelfile=f'TEMPLATE """{TEMPLATE}"""', context=4096)
    create(cli, "echo", modelfile=f'TEMPLATE """say:{TEMPLATE}{{{{ .Think }}}}|{{{{ .ThinkLevel }}}};"""', context=4096)
    with serve(models=cli.models) as server:
        yield server


def body(content: object = "say:one € two;", **more: object) -> dict[str, object]:
    return {"model": "tiny", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


def message(server: FakeServer, content: object, **more: object) -> Any:
    """The reply of the clever model."""
    reply = server.post(PATH, body(content, model="clever", **more))
    assert reply.status_code == 200, reply.text
    return reply.json()


def prompt(server: FakeServer, messages: list[Any], **more: object) -> str:
    """What the model was given: the model that echoes answers it."""
    asked = body(model="echo", messages=messages, max_tokens=2000, stop_sequences=["never"], **more)
    content = server.post(PATH, asked).json()["content"]
    return "".join(block.get("text", "") for block in content)


def events(reply: requests.Response) -> list[Any]:
    """The objects of a stream, each named by its type."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    *found, rest = reply.content.decode().split("\n\n")
    assert rest == ""
    objects: list[Any] = []
    for event in found:
        name, data = event.split("\n")
        objects.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {objects[-1]['type']}"
    return objects


def joined(found: list[Any]) -> tuple[list[Any], Any]:
    """The blocks that a stream's events make up, checked to come one after the other, and its message_delta."""
    first, *rest, last, stop = found
    assert (first["type"], last["type"], stop) == ("message_start", "message_delta", {"type": "message_stop"})
    assert (first["message"]["content"], first["message"]["stop_reason"]) == ([], None)
    blocks: list[Any] = []
    pieces = ""
    is_open = False
    for event in rest:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                is_open, pieces = True, ""
                blocks.append(event["content_block"])
            case "content_block_delta":
                assert is_open
                match event["delta"]:
                    case {"type": "text_delta", "text": text}:
                        blocks[-1]["text"] += text
                    case {"type": "thinking_delta", "thinking": text}:
                        blocks[-1]["thinking"] += text
                    case {"type": "signature_delta", "signature": text}:
                        blocks[-1]["signature"] += text
                    case {"type": "input_json_delta", "partial_json": text}:
                        pieces += text
                        blocks[-1]["input"] = json.loads(pieces)
                    case other:
                        pytest.fail(str(other))
            case kind:
                assert (kind, is_open) == ("content_block_stop", True)
                is_open = False
        assert event["index"] == len(blocks) - 1
    assert not is_open
    return blocks, last


@pytest.mark.parametrize("path", [PATH, "/v1/v1/messages", "/v1/messages?beta=true"])
def test_a_message_is_one_object(fake: FakeServer, path: str) -> None:
    reply = fake.post(path, body())
    found = reply.json()
    assert re.fullmatch("msg_[0-9a-f]{24}", found.pop("id"))
    usage = found.pop("usage")
    assert found == {
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [{"type": "text", "text": "one € two"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    assert usage["output_tokens"] == len("one € two".encode()) + 1
    assert reply.headers["X-Corral-Num-Ctx"] == "256"


@pytest.mark.parametrize("path", [COUNT, "/v1/v1/messages/count_tokens"])
def test_the_tokens_of_a_prompt_are_counted_and_used(fake: FakeServer, path: str) -> None:
    asked = body("say:counted;", system="Be brief.")
    counted = fake.post(path, {name: value for name, value in asked.items() if name != "max_tokens"}).json()
    fake.post(PATH, asked)
    usage = fake.post(PATH, asked).json()["usage"]
    assert counted == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}
    assert usage["cache_read_input_tokens"] > 0
    assert usage["cache_creation_input_tokens"] == 0


def test_what_is_longer_than_the_context_is_counted_whole(fake: FakeServer) -> None:
    turns = [{"role": role, "content": "x" * 100} for role in ("user", "assistant") * 5]
    counted = fake.post(COUNT, {"model": "tiny", "messages": turns}).json()["input_tokens"]
    assert counted > 1000 > 256
    reply = fake.post(PATH, body(messages=turns, max_tokens=2))
    assert reply.json()["truncated"]["messages"] > 0
    assert reply.headers["X-Corral-Truncated"].startswith("messages=")
    found = events(fake.post(PATH, body(messages=turns, max_tokens=2, stream=True)))
    assert found[-2]["truncated"] == reply.json()["truncated"]


def test_a_stream_is_a_start_blocks_a_delta_and_a_stop(fake: FakeServer) -> None:
    found = events(fake.post(PATH, body(stream=True)))
    blocks, last = joined(found)
    assert blocks == [{"type": "text", "text": "one € two"}]
    assert last["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert last["usage"]["output_tokens"] == len("one € two".encode()) + 1
    assert last["usage"]["input_tokens"] + last["usage"]["cache_read_input_tokens"] > 0
    assert set(found[0]["message"]) == set(fake.post(PATH, body()).json())


def test_an_empty_answer_has_no_blocks(fake: FakeServer) -> None:
    assert fake.post(PATH, body("say:;")).json()["content"] == []
    assert joined(events(fake.post(PATH, body("say:;", stream=True))))[0] == []


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        ({"max_tokens": 3}, "one", "max_tokens"),
        ({"options": {"stop": ["€"], "num_predict": 1}}, "one ", "end_turn"),
        ({"stop_sequences": []}, "one € two", "end_turn"),
        (
            {"temperature": 0, "top_p": 1, "top_k": 5, "tools": [], "tool_choice": {"type": "auto"}},
            "one € two",
            "end_turn",
        ),
        ({"metadata": {"user_id": "a"}, "service_tier": "auto", "container": None, "mcp": []}, "one € two", "end_turn"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "one € two", "end_turn"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "one € two", "end_turn"),
        ({"thinking": {"type": "disabled"}, "tool_choice": {"type": "none"}}, "one € two", "end_turn"),
    ],
)
def test_options_are_honoured(fake: FakeServer, options: dict[str, object], answer: str, reason: str) -> None:
    reply = fake.post(PATH, body(**options)).json()
    assert (reply["content"], reply["stop_reason"]) == ([{"type": "text", "text": answer}], reason)


@pytest.mark.parametrize(
    ("text", "stops", "met"),
    [
        ("one two", [" ", "two"], " "),
        ("one", ["</s>"], "</s>"),  # a special token
        ("one<end>", None, None),  # the model's own
        ("one", ["two"], None),
        ("one", [""], None),
    ],
)
def test_a_stop_sequence_that_is_met_is_said(
    fake: FakeServer, text: str, stops: list[str] | None, met: str | None
) -> None:
    asked = body(f"say:{text};", model="twin", stop_sequences=stops)
    whole = fake.post(PATH, asked).json()
    reason = "stop_sequence" if met else "end_turn"
    assert whole["content"] == [{"type": "text", "text": "one"}]
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, met)
    _, last = joined(events(fake.post(PATH, asked | {"stream": True})))
    assert last["delta"] == {"stop_reason": reason, "stop_sequence": met}


def test_how_the_model_is_loaded_may_be_said_in_ollamas_words(serve: Serve) -> None:
    with serve() as fake:
        reply = fake.post(PATH, body(options={"num_ctx": 128}, keep_alive=0))
        assert reply.headers["X-Corral-Num-Ctx"] == "128"
        eventually(fake.is_idle)
        assert fake.options[0].num_ctx == 128


def test_thoughts_text_and_calls_are_blocks(clever: FakeServer) -> None:
    found = message(clever, f"say:{THOUGHT};", tools=[WEATHER], max_tokens=1000)
    thinking, text, first, second = found["content"]
    assert thinking == {"type": "thinking", "thinking": "I could ask.\n", "signature": ""}
    assert text == {"type": "text", "text": "Let me see."}
    assert first == {"type": "tool_use", "id": first["id"], "name": "weather", "input": ARGUMENTS}
    assert second["input"] == ARGUMENTS | {"city": "Bonn"}
    assert first["id"] != second["id"]
    assert (found["stop_reason"], found["stop_sequence"]) == ("tool_use", None)


def test_a_stream_has_the_same_blocks(clever: FakeServer) -> None:
    more: dict[str, object] = {"tools": [WEATHER], "model": "clever", "max_tokens": 1000}
    whole = message(clever, f"say:{THOUGHT};", tools=[WEATHER], max_tokens=1000)["content"]
    found = events(clever.post(PATH, body(f"say:{THOUGHT};", stream=True, **more)))
    blocks, last = joined(found)
    assert last["delta"]["stop_reason"] == "tool_use"
    for block in (*whole, *blocks):
        assert block.pop("id", "call_").startswith("call_")
    assert blocks == whole
    signed = [event["index"] for event in found if event.get("delta", {}).get("type") == "signature_delta"]
    assert signed == [0]


def test_an_answer_that_is_cut_off_while_it_calls_tools_says_so(clever: FakeServer) -> None:
    found = message(clever, f"say:{CALL} and so on;", tools=[WEATHER], max_tokens=len(CALL) + 4)
    assert (found["content"][-1]["type"], found["stop_reason"]) == ("tool_use", "max_tokens")


@pytest.mark.parametrize(
    ("choice", "calls"),
    [
        ({"type": "auto"}, 2),
        ({"type": "none"}, 0),
        ({"type": "auto", "disable_parallel_tool_use": True}, 1),
    ],
)
def test_what_is_said_of_calls_holds(clever: FakeServer, choice: dict[str, object], calls: int) -> None:
    more: dict[str, object] = {"tools": [WEATHER], "tool_choice": choice, "thinking": {"type": "disabled"}}
    content = message(clever, f"say:{CALL}{CALL};", max_tokens=1000, **more)["content"]
    assert [block["type"] for block in content].count("tool_use") == calls


FORMAT = {"type": "json_schema", "schema": SCHEMA}


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [WEATHER], "tool_choice": {"type": "any"}},
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather"}},
        {"output_config": {"format": FORMAT}},
        {"output_format": FORMAT},
    ],
)
def test_what_the_answer_has_to_be_reaches_the_engine(clever: FakeServer, asked: dict[str, object]) -> None:
    refused = clever.post(PATH, body(model="clever", **asked)).json()["error"]
    assert "this model knows only literal ones" in refused["message"]
    assert clever.post(COUNT, body(model="clever", **asked)).json()["input_tokens"] > 0


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, "true|medium"),  # as in Ollama, a model that can think does
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "true|medium"),
        ({"thinking": {"type": "adaptive"}}, "true|medium"),
        ({"thinking": {"type": "disabled"}}, "false|"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "false|"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "true|low"),
        ({"output_config": {"effort": "xhigh"}}, "true|high"),
        ({"output_config": {"effort": "max"}}, "true|max"),
    ],
)
def test_how_much_is_thought_is_said(clever: FakeServer, asked: dict[str, object], shown: str) -> None:
    assert prompt(clever, [{"role": "user", "content": "Hm"}], **asked).endswith(f"\n{shown}")


HISTORY: list[tuple[list[Any], str]] = [
    ([{"role": "user", "content": "a"}], "user:a\n"),
    ([{"role": "user", "content": []}], "user:\n"),
    ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "user:a\nb\n"),
    (
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            {"role": "system", "content": "d"},
        ],
        "user:a\nassistant:bc\nsystem:d\n",
    ),
    (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "xyz"},
                    {"type": "redacted_thinking", "data": "abc"},
                    {"type": "text", "text": "b", "citations": None, "cache_control": {"type": "ephemeral"}},
                ],
            }
        ],
        "assistant:<think>hm</think>b\n",
    ),
    (
        [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Ulm"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]},
        ],
        'assistant:<tool_call>{"name": "weather", "arguments": {"city":"Ulm"}}</tool_call>\ntool:rain(weather)\n',
    ),
    (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "t1", "name": "first", "input": {}},
                    {"type": "tool_use", "id": "t2", "name": "second"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Well?"},
                    {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "two"}]},
                    {"type": "tool_result", "tool_use_id": "t1", "content": "none", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "t1"},
                ],
            },
        ],
        (
            'assistant:<tool_call>{"name": "first", "arguments": {}}{"name": "second", "arguments": {}}</tool_call>\n'
            "tool:two(second)\ntool:Error: none(first)\ntool:(first)\nuser:Well?\n"
        ),
    ),
]


@pytest.mark.parametrize(("messages", "shown"), HISTORY)
def test_what_was_said_before_is_what_the_model_sees(clever: FakeServer, messages: list[Any], shown: str) -> None:
    assert prompt(clever, messages, thinking={"type": "disabled"}) == f"{shown}false|"


@pytest.mark.parametrize(
    ("system", "shown"),
    [
        ("Be brief.", "system:Be brief.\n"),
        ("", ""),
        ([], ""),
        ([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}], "system:Be brief.\nBe kind.\n"),
        (f"{BILLING}00001; x\nBe brief.", "system:Be brief.\n"),
        (f"{BILLING}00002; x", ""),
        ([{"type": "text", "text": BILLING}, {"type": "text", "text": "Be brief."}], "system:Be brief.\n"),
        (f"Be brief.\n{BILLING}", f"system:Be brief.\n{BILLING}\n"),
    ],
)
def test_the_system_prompt_comes_first_without_the_line_that_is_never_the_same(
    clever: FakeServer, system: object, shown: str
) -> None:
    # The echo ends at the first semicolon.
    said = prompt(clever, [{"role": "user", "content": "a"}], system=system, thinking={"type": "disabled"})
    assert said == f"{shown}user:a\nfalse|".partition(";")[0]


def test_a_tool_is_described_to_the_model(clever: FakeServer) -> None:
    said = prompt(clever, [{"role": "user", "content": "a"}], tools=[WEATHER], thinking={"type": "disabled"})
    described = json.loads(said.removeprefix("tools: ").partition("user:")[0])
    assert [tool["function"]["name"] for tool in described] == ["weather"]
    assert described[0]["function"]["description"] == "What it is like outside"
    assert described[0]["function"]["parameters"]["properties"] == SCHEMA["properties"]
