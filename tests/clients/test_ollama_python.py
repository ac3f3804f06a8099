"""The published `ollama` package against a real server with a real model."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime

import ollama
import pytest

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
FEW = {"num_predict": 8}


@pytest.fixture
def client(served_url: str) -> Generator[ollama.Client]:
    client = ollama.Client(served_url)
    yield client
    client.close()


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
    assert model.context_length == 4096
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


def test_error_what_is_still_to_come_says_so(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="/api/create is not supported yet") as caught:
        client.create(model="copy", from_="smol")
    assert caught.value.status_code == 501


def test_error_of_embeddings_from_a_model_that_generates(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match='"smol" does not support embeddings') as caught:
        client.embed("smol", "hello")
    assert caught.value.status_code == 501
