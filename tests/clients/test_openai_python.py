"""The published `openai` package against a real server with a real model."""

from __future__ import annotations

from collections.abc import Generator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France? Answer in one word."}
]


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
    with pytest.raises(openai.BadRequestError, match="n must be 1"):
        client.chat.completions.create(model="smol", messages=QUESTION, n=2)
