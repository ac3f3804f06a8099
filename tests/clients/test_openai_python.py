"""The published `openai` package against a real server with a real model."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from openai.types.shared_params import FunctionDefinition
from pydantic import BaseModel

from tests.clients.conftest import ASKS, CITY, ULM, is_city

QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France? Answer in one word."}
]


DESCRIBED: FunctionDefinition = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    """What is to be told."""

    name: Literal["Paris", "Lyon"]


@pytest.fixture
def told(told_url: str) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{told_url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def client(served_url: str) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served_url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == ("smol:latest", "model", "library")
    assert client.models.retrieve("smol").id == "smol"


def test_a_completion(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="smol", messages=QUESTION, max_tokens=8)
    (choice,) = reply.choices
    assert choice.message.role == "assistant"
    assert choice.message.content is not None
    assert "Paris" in choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens > 0
    assert 0 < reply.usage.completion_tokens <= 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream(client: openai.OpenAI, *, include_usage: bool) -> None:
    chunks = list(
        client.chat.completions.create(
            model="smol",
            messages=QUESTION,
            max_completion_tokens=8,
            stream=True,
            stream_options={"include_usage": include_usage},
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "Paris" in "".join(choice.delta.content or "" for choice in choices)
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices if choice.finish_reason] in (["stop"], ["length"])
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == include_usage
    if include_usage:
        assert usages[0].completion_tokens > 0
        assert chunks[-1].choices == []


def test_what_is_sent_is_what_the_other_dialect_answers(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="smol", messages=QUESTION, temperature=0, seed=1, max_tokens=8)
    again = client.chat.completions.create(model="smol", messages=QUESTION, temperature=0, seed=1, max_tokens=8)
    assert whole.choices[0].message.content == again.choices[0].message.content
    assert whole.id != again.id


def test_a_stop_text(client: openai.OpenAI) -> None:
    text = client.chat.completions.create(model="smol", messages=QUESTION, max_tokens=8).choices[0].message.content
    assert text is not None
    cut = client.chat.completions.create(model="smol", messages=QUESTION, max_tokens=8, stop=["never", "Paris"])
    assert cut.choices[0].message.content == text.partition("Paris")[0]
    assert cut.choices[0].finish_reason == "stop"


def test_error_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=QUESTION)
    with pytest.raises(openai.NotFoundError, match="model 'nope:latest' not found"):
        client.models.retrieve("nope")


def test_error_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="too short") as caught:
        client.chat.completions.create(model="smol", messages=[])
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="n must be between 1 and 128"):
        client.chat.completions.create(model="smol", messages=QUESTION, n=129)


def test_structured_outputs(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="smol", messages=QUESTION, max_tokens=100, response_format=City)
    assert isinstance(reply.choices[0].message.parsed, City)
    by_schema = client.chat.completions.create(
        model="smol",
        messages=QUESTION,
        max_tokens=100,
        response_format={"type": "json_schema", "json_schema": {"name": "City", "schema": CITY, "strict": True}},
    )
    assert is_city(json.loads(by_schema.choices[0].message.content or ""))


def test_probabilities_of_tokens(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="smol", messages=QUESTION, max_tokens=4, logprobs=True, top_logprobs=2, temperature=0
    )
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    text = b"".join(bytes(token.bytes or ()) for token in logprobs.content)
    assert text.decode() == reply.choices[0].message.content
    for token in logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2
        assert token.top_logprobs[0].token == token.token


def test_several_answers(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="smol", messages=QUESTION, max_tokens=8, n=2, temperature=0)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert all("Paris" in (choice.message.content or "") for choice in reply.choices)


def test_an_older_completion(client: openai.OpenAI) -> None:
    whole = client.completions.create(
        model="smol", prompt="What is the capital of France?", max_tokens=8, temperature=0
    )
    assert "Paris" in whole.choices[0].text
    chunks = client.completions.create(
        model="smol", prompt="What is the capital of France?", max_tokens=8, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_a_tool_is_called_and_answers(told: openai.OpenAI) -> None:
    asked: ChatCompletionMessageParam = {"role": "user", "content": ASKS}
    tools: list[ChatCompletionToolUnionParam] = [{"type": "function", "function": DESCRIBED}]
    reply = told.chat.completions.create(model="clever", messages=[asked], tools=tools, tool_choice="auto")
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ULM)
    with told.chat.completions.stream(model="clever", messages=[asked], tools=tools) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.message.content == "Wait."
    (called,) = streamed.message.tool_calls or []
    assert (called.function.name, json.loads(called.function.arguments)) == ("weather", ULM)
    said: ChatCompletionMessageParam = {
        "role": "assistant",
        "content": choice.message.content,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
        ],
    }
    answer: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    more = told.chat.completions.create(model="clever", messages=[asked, said, answer], tools=tools, max_tokens=1)
    assert more.usage is not None
    assert reply.usage is not None
    assert more.usage.prompt_tokens > reply.usage.prompt_tokens


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_texts_are_embedded(told: openai.OpenAI, encoding: Literal["float", "base64"] | None) -> None:
    chosen = openai.omit if encoding is None else encoding
    reply = told.embeddings.create(model="embed", input=["one", "two"], encoding_format=chosen)
    assert [one.index for one in reply.data] == [0, 1]
    assert reply.data[0].embedding != reply.data[1].embedding
    assert reply.usage.prompt_tokens > 0
