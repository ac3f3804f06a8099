"""The published `llama-index-llms-ollama` package."""

from __future__ import annotations

from typing import Any, Literal

import ollama
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama
from pydantic import BaseModel

from tests.clients.conftest import ASKS, QUESTION, ULM


class City(BaseModel):
    """What is to be told."""

    name: Literal["Paris", "Lyon"]


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"rain in {city}"


def model_of(client: ollama.Client, name: str, num_predict: int, **more: Any) -> Ollama:
    return Ollama(model=name, client=client, additional_kwargs={"num_predict": num_predict}, **more)


def test_it_asks_for_all_the_context_that_the_model_was_trained_with(client: ollama.Client) -> None:
    model = model_of(client, "smol", 8)
    assert model.get_context_window() == 8192
    assert "Paris" in model.complete(QUESTION).text
    (loaded,) = client.ps().models
    assert loaded.context_length == 8192


def test_a_chat_streamed_and_whole(client: ollama.Client) -> None:
    model = model_of(client, "smol", 8)
    messages = [ChatMessage(role="user", content=QUESTION)]
    whole = model.chat(messages)
    assert "Paris" in (whole.message.content or "")
    assert "".join(chunk.delta or "" for chunk in model.stream_chat(messages)) == whole.message.content
    assert model.complete(QUESTION).text == whole.message.content
    assert list(model.stream_complete(QUESTION))[-1].text == whole.message.content


def test_json_by_schema(client: ollama.Client) -> None:
    found = model_of(client, "smol", 100).as_structured_llm(City).complete(QUESTION).raw
    assert isinstance(found, City)


def test_a_tool_is_called(told: ollama.Client) -> None:
    model = model_of(told, "clever", 500, thinking=True)
    assert model.get_context_window() == 4096
    tool = FunctionTool.from_defaults(fn=weather)
    reply = model.chat_with_tools([tool], user_msg=ASKS)
    (call,) = model.get_tool_calls_from_response(reply)
    assert (call.tool_name, call.tool_kwargs) == ("weather", ULM)
    *_, last = model.stream_chat_with_tools([tool], user_msg=ASKS)
    (call,) = model.get_tool_calls_from_response(last)
    assert (call.tool_name, call.tool_kwargs) == ("weather", ULM)
