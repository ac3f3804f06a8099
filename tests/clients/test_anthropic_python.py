"""The published `anthropic` package against a real server with a real model."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.conftest import Cli, serving

TEMPLATE = """{{ if .Tools }}<|im_start|>system
You call tools with <tool_call>{"name": NAME, "arguments": ARGUMENTS}</tool_call>: {{ .Tools }}<|im_end|>
{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}{{ range .ToolCalls }}<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
QUESTION: list[MessageParam] = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "Get the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def url(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A server with the model `smol`, which may call tools."""
    folder = tmp_path_factory.mktemp("anthropic")
    cli = Cli(folder / "models", folder)
    cli.ok("create", "smol", "-f", "-", stdin=f'FROM {smollm2}\nPARAMETER temperature 0\nTEMPLATE """{TEMPLATE}"""\n')
    with serving(cli) as url:
        yield url


@pytest.fixture(params=["", "/v1"])
def client(url: str, request: pytest.FixtureRequest) -> Generator[anthropic.Anthropic]:
    base: str = url + request.param
    with anthropic.Anthropic(base_url=base, api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_a_message(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model="smol", messages=QUESTION, max_tokens=8, system="Be brief.")
    (block,) = reply.content
    assert block.type == "text"
    assert "Paris" in block.text
    assert (reply.role, reply.model) == ("assistant", "smol")
    assert reply.stop_reason in ("end_turn", "max_tokens")
    assert 0 < reply.usage.output_tokens <= 8


def test_a_stream_is_put_together_to_the_same_message(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model="smol", messages=QUESTION, max_tokens=8)
    with client.messages.stream(model="smol", messages=QUESTION, max_tokens=8) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert [block.to_dict() for block in last.content] == [block.to_dict() for block in whole.content]
    assert "Paris" in text
    assert (last.stop_reason, last.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert last.usage.input_tokens + (last.usage.cache_read_input_tokens or 0) > 0


def test_what_was_evaluated_before_is_not_counted_as_new(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="smol", messages=QUESTION).input_tokens
    client.messages.create(model="smol", messages=QUESTION, max_tokens=1)
    usage = client.messages.create(model="smol", messages=QUESTION, max_tokens=1).usage
    assert usage.cache_read_input_tokens
    assert usage.input_tokens + usage.cache_read_input_tokens == counted


def test_a_prompt_that_begins_with_a_line_of_its_own_is_found_again(client: anthropic.Anthropic) -> None:
    first, second = (
        client.messages.create(
            model="smol",
            messages=QUESTION,
            max_tokens=1,
            system=[
                {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={number}5f3a;"},
                {"type": "text", "text": "You are brief. " * 20},
            ],
        ).usage
        for number in range(2)
    )
    assert second.input_tokens < 5 < 50 < (second.cache_read_input_tokens or 0)
    assert second.input_tokens + (second.cache_read_input_tokens or 0) == first.input_tokens + (
        first.cache_read_input_tokens or 0
    )


def test_a_tool_is_called_and_its_result_answered(client: anthropic.Anthropic) -> None:
    talk: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]
    with client.messages.stream(
        model="smol", messages=talk, max_tokens=80, tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"}
    ) as stream:
        reply = stream.get_final_message()
    (call,) = reply.content
    assert reply.stop_reason == "tool_use"
    assert call.type == "tool_use"
    assert call.name == "weather"
    assert call.input in ({"city": "Paris"}, {"city": "Rome"})
    talk.append(
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]}
    )
    talk.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "It rains frogs."}]}
    )
    answer = client.messages.create(
        model="smol", messages=talk, max_tokens=30, tools=[WEATHER], tool_choice={"type": "none"}
    )
    (block,) = answer.content
    assert block.type == "text"
    assert "frog" in block.text


def test_an_answer_is_what_a_schema_describes(client: anthropic.Anthropic) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"capital": {"enum": ["Bonn", "Ulm"]}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    reply = client.messages.create(
        model="smol",
        messages=QUESTION,
        max_tokens=40,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    (block,) = reply.content
    assert block.type == "text"
    assert json.loads(block.text) in ({"capital": "Bonn"}, {"capital": "Ulm"})


def test_error_an_unknown_model(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
        client.messages.create(model="nope", messages=QUESTION, max_tokens=8)
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
        client.messages.count_tokens(model="nope", messages=QUESTION)


def test_error_a_bad_request(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is required") as caught:
        client.messages.create(model="smol", messages=QUESTION, max_tokens=0)
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError, match="web_search_20250305"):
        client.messages.create(
            model="smol",
            messages=QUESTION,
            max_tokens=8,
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )
