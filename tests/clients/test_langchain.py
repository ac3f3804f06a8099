"""The published `langchain-ollama` package."""

from __future__ import annotations

from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from tests.clients.conftest import ASKS, CITY, QUESTION, ULM, WEATHER, is_city

CLOSING = {"headers": {"Connection": "close"}}
"""For the clients never close what they opened."""


def chat(url: str, model: str, **more: Any) -> ChatOllama:
    return ChatOllama(model=model, base_url=url, client_kwargs=CLOSING, **more)


def test_a_chat_streamed_and_whole(served_url: str) -> None:
    model = chat(served_url, "smol", num_predict=8, validate_model_on_init=True)
    whole = model.invoke(QUESTION)
    assert "Paris" in whole.text
    assert whole.response_metadata["done_reason"] in ("stop", "length")
    usage = whole.usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > usage["output_tokens"] > 0
    chunks = list(model.stream(QUESTION))
    assert len(chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == whole.text


def test_a_prompt_is_completed(served_url: str) -> None:
    model = OllamaLLM(model="smol", base_url=served_url, num_predict=8, client_kwargs=CLOSING)
    whole = model.invoke(QUESTION)
    assert "Paris" in whole
    assert "".join(model.stream(QUESTION)) == whole


def test_json_by_schema(served_url: str) -> None:
    model = chat(served_url, "smol", num_predict=100)
    assert is_city(cast("Any", model.with_structured_output(CITY, method="json_schema")).invoke(QUESTION))
    assert isinstance(model.with_structured_output(CITY, method="json_mode").invoke(QUESTION), dict)


def test_a_tool_is_called_and_answers(told_url: str) -> None:
    model = chat(told_url, "clever", reasoning=True).bind_tools([WEATHER])
    asked = HumanMessage(ASKS)
    said = model.invoke([asked])
    assert isinstance(said, AIMessage)
    assert said.text == "Wait."
    assert said.additional_kwargs["reasoning_content"] == "Hm."
    (call,) = said.tool_calls
    assert (call["name"], call["args"]) == ("weather", ULM)
    streamed = model.stream([asked])
    whole = next(streamed)
    for chunk in streamed:
        whole += chunk
    assert isinstance(whole, AIMessage)
    assert [(one["name"], one["args"]) for one in whole.tool_calls] == [("weather", ULM)]
    answered = [asked, said, ToolMessage("rain", tool_call_id=call["id"])]
    assert model.invoke(answered).response_metadata["done_reason"] == "stop"


def test_texts_are_embedded(told_url: str) -> None:
    embeddings = OllamaEmbeddings(model="embed", base_url=told_url, client_kwargs=CLOSING)
    first, second = embeddings.embed_documents(["one", "two"])
    assert first == pytest.approx(embeddings.embed_query("one"))
    assert len(first) == len(second)
    assert first != second


def test_error_a_model_that_is_not_there(served_url: str) -> None:
    with pytest.raises(ValueError, match="not found"):
        chat(served_url, "nope", validate_model_on_init=True)
