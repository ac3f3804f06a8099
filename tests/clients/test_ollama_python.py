"""The published `ollama` package against a real server with a real model."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import ollama
import pytest

from tests.clients.conftest import ASKS, CITY, ULM, WEATHER, is_city

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
FEW = {"num_predict": 8}


def check_counts(reply: ollama.GenerateResponse | ollama.ChatResponse) -> None:
    assert reply.done
    assert reply.done_reason in ("stop", "length")
    assert reply.created_at is not None
    assert datetime.fromisoformat(reply.created_at).tzinfo
    assert reply.prompt_eval_count is not None
    assert reply.prompt_eval_count > 0
    assert reply.eval_count is not None
    assert reply.eval_count > 0
    for duration in (reply.total_duration, reply.load_duration, reply.prompt_eval_duration, reply.eval_duration):
        assert isinstance(duration, int)
        assert duration >= 0


def test_list(client: ollama.Client) -> None:
    (model,) = client.list().models
    assert model.model == "smol:latest"
    assert model.size is not None
    assert model.size > 90_000_000
    assert model.modified_at is not None
    assert model.modified_at <= datetime.now(UTC)
    assert model.details is not None
    assert (model.details.family, model.details.quantization_level) == ("llama", "Q4_1")
    assert model.digest is not None
    assert len(model.digest) == 64


def test_show(client: ollama.Client) -> None:
    shown = client.show("smol")
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.capabilities == ["completion"]
    assert shown.parameters is not None
    assert shown.parameters.split() == ["stop", '"<|im_start|>"', "stop", '"<|im_end|>"', "temperature", "0"]
    assert shown.template is not None
    assert "im_start" in shown.template
    assert shown.modelfile is not None
    assert "SYSTEM You are a helpful assistant." in shown.modelfile


def test_generate(client: ollama.Client) -> None:
    reply = client.generate("smol", "What is the capital of France?", options=FEW)
    assert reply.model == "smol"
    assert "Paris" in (reply.response or "")
    check_counts(reply)


def test_generate_streamed_is_the_same_text(client: ollama.Client) -> None:
    whole = client.generate("smol", "What is the capital of France?", options=FEW).response
    *chunks, last = client.generate("smol", "What is the capital of France?", options=FEW, stream=True)
    assert "".join(chunk.response or "" for chunk in chunks) == whole
    assert not any(chunk.done for chunk in chunks)
    assert last.response == ""
    check_counts(last)


def test_chat(client: ollama.Client) -> None:
    reply = client.chat("smol", QUESTION, options=FEW)
    assert reply.message.role == "assistant"
    assert reply.message.content is not None
    assert "Paris" in reply.message.content
    check_counts(reply)


def test_chat_streamed(client: ollama.Client) -> None:
    *chunks, last = client.chat("smol", QUESTION, options=FEW, stream=True)
    assert {chunk.message.role for chunk in [*chunks, last]} == {"assistant"}
    assert "Paris" in "".join(chunk.message.content or "" for chunk in chunks)
    assert last.message.content == ""
    check_counts(last)


def test_a_conversation_is_read_whole(client: ollama.Client) -> None:
    messages = [
        ollama.Message(role="user", content="My name is Ada."),
        ollama.Message(role="assistant", content="Hello Ada!"),
        ollama.Message(role="user", content="What is my name?"),
    ]
    whole = client.chat("smol", messages, options={"num_predict": 1})
    alone = client.chat("smol", messages[2:], options={"num_predict": 1})
    assert (whole.prompt_eval_count or 0) > (alone.prompt_eval_count or 0) > 0


def test_loading_and_ps(client: ollama.Client) -> None:
    loaded = client.generate("smol", keep_alive="10m")
    assert loaded.done_reason == "load"
    (model,) = client.ps().models
    assert model.name == "smol:latest"
    assert model.size is not None
    assert model.size > 90_000_000
    assert model.size_vram == 0
    assert model.context_length is not None
    assert 4096 <= model.context_length <= 8192  # as much of the model's own as this machine's memory allows
    assert model.expires_at is not None
    assert model.expires_at > datetime.now(UTC)


def test_error_an_unknown_model(client: ollama.Client) -> None:
    for stream in (True, False):
        with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as caught:
            list(client.chat("nope", QUESTION, stream=stream))
        assert caught.value.status_code == 404


def test_the_async_client_answers_several_at_once(served_url: str) -> None:
    async def one(client: ollama.AsyncClient, number: int) -> str:
        text = ""
        chat = await client.chat("smol", [{"role": "user", "content": f"Say {number}."}], options=FEW, stream=True)
        async for chunk in chat:
            text += chunk.message.content or ""
        return text

    async def run() -> None:
        client = ollama.AsyncClient(served_url)
        async with asyncio.timeout(120):
            assert all(await asyncio.gather(*(one(client, number) for number in range(4))))
            assert [model.model for model in (await client.list()).models] == ["smol:latest"]
            assert (await client.show("smol")).capabilities == ["completion"]
            assert (await client.ps()).models[0].model == "smol:latest"
            whole = await client.generate("smol", "The capital of France is", raw=True, options=FEW)
            check_counts(whole)
        await client.close()

    asyncio.run(run())


def test_copy_and_delete(client: ollama.Client) -> None:
    assert client.copy("smol", "second").status == "success"
    assert {model.model for model in client.list().models} == {"smol:latest", "second:latest"}
    assert client.delete("second").status == "success"
    assert [model.model for model in client.list().models] == ["smol:latest"]
    with pytest.raises(ollama.ResponseError, match="model 'second' not found") as caught:
        client.delete("second")
    assert caught.value.status_code == 404


def test_error_of_embeddings_from_a_model_that_generates(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match='"smol" does not support embeddings') as caught:
        client.embed("smol", "hello")
    assert caught.value.status_code == 501


def test_json_by_schema(client: ollama.Client) -> None:
    reply = client.chat("smol", QUESTION, format=CITY, options={"num_predict": 100})
    assert is_city(json.loads(reply.message.content or ""))
    *chunks, _ = client.generate("smol", QUESTION[0]["content"], format=CITY, options={"num_predict": 100}, stream=True)
    assert is_city(json.loads("".join(chunk.response or "" for chunk in chunks)))
    anything = client.chat("smol", QUESTION, format="json", options={"num_predict": 100})
    assert isinstance(json.loads(anything.message.content or ""), dict)


def test_probabilities_of_tokens(client: ollama.Client) -> None:
    reply = client.chat("smol", QUESTION, options={"num_predict": 4}, logprobs=True, top_logprobs=2)
    assert reply.logprobs is not None
    assert "".join(one.token for one in reply.logprobs) == reply.message.content
    assert all(one.logprob <= 0 and len(one.top_logprobs or ()) == 2 for one in reply.logprobs)


def weather(city: str) -> str:
    """Tell the weather of a city.

    Args:
        city: Where.
    """
    return f"rain in {city}"


@pytest.mark.parametrize("tool", [WEATHER, weather])
def test_thinking_and_a_tool_called(told: ollama.Client, tool: Any) -> None:
    asked = {"role": "user", "content": ASKS}
    message = told.chat("clever", [asked], tools=[tool], think=True).message
    assert (message.thinking, message.content) == ("Hm.", "Wait.")
    (call,) = message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", ULM)
    chunks = list(told.chat("clever", [asked], tools=[tool], stream=True))
    (streamed,) = [one for chunk in chunks for one in chunk.message.tool_calls or ()]
    assert streamed.function == call.function
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "Hm."
    answer = {"role": "tool", "tool_name": "weather", "content": weather(**call.function.arguments)}
    more = told.chat("clever", [asked, message, answer], tools=[tool], options={"num_predict": 1})
    assert more.message.role == "assistant"


def test_texts_are_embedded(told: ollama.Client) -> None:
    first, second = told.embed("embed", ["one", "two"]).embeddings
    assert len(first) == len(second) > 1
    assert sum(number * number for number in first) == pytest.approx(1, abs=1e-3)
    assert len(told.embed("embed", "one", dimensions=4).embeddings[0]) == 4
    assert len(told.embeddings("embed", "one").embedding) == len(first)


def test_error_what_a_model_cannot_do(client: ollama.Client) -> None:
    wants: list[dict[str, Any]] = [{"think": True}, {"tools": [WEATHER]}]
    for asked in wants:
        with pytest.raises(ollama.ResponseError, match="does not support") as caught:
            client.chat("smol", QUESTION, **asked)
        assert caught.value.status_code == 400
