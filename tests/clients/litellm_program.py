"""Has litellm ask two servers, and prints what it makes of their answers as JSON: `python litellm_program.py REAL TOLD`.

A program, because litellm cannot be installed beside the newest `openai`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from tests.clients.conftest import ASKS, CITY, QUESTION, WEATHER

litellm: Any = import_module("litellm")
FORMAT = {"type": "json_schema", "json_schema": {"name": "City", "schema": CITY}}
PROVIDERS = {"ollama": "", "ollama_chat": "", "openai": "/v1"}


def talk(provider: str, url: str, model: str, question: str, **more: object) -> Any:
    """One completion."""
    return litellm.completion(
        model=f"{provider}/{model}",
        messages=[{"role": "user", "content": question}],
        api_base=url + PROVIDERS[provider],
        api_key="none",
        **more,
    )


def answers(provider: str, real: str, told: str) -> dict[str, Any]:
    """All that a provider of litellm is asked."""
    whole = talk(provider, real, "smol", QUESTION, max_tokens=8, temperature=0)
    pieces = [
        chunk.choices[0] for chunk in talk(provider, real, "smol", QUESTION, max_tokens=8, temperature=0, stream=True)
    ]
    by_schema = talk(provider, real, "smol", QUESTION, max_tokens=100, response_format=FORMAT)
    found: dict[str, Any] = {
        "text": whole.choices[0].message.content,
        "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "streamed": [piece.delta.content or "" for piece in pieces],
        "finish": [piece.finish_reason for piece in pieces if piece.finish_reason],
        "json": json.loads(by_schema.choices[0].message.content),
    }
    if provider != "ollama":  # which has no tools but those that litellm describes in the prompt
        called = talk(provider, told, "clever", ASKS, tools=[WEATHER])
        found["calls"] = [_call(call) for call in called.choices[0].message.tool_calls]
        found["called"] = called.choices[0].finish_reason
        deltas = [
            chunk.choices[0].delta for chunk in talk(provider, told, "clever", ASKS, tools=[WEATHER], stream=True)
        ]
        found["streamed_calls"] = [_call(call) for delta in deltas for call in delta.tool_calls or ()]
    if provider != "ollama_chat":
        name = f"{provider}/embed"
        reply = litellm.embedding(name, input=["one", "two"], api_base=told + PROVIDERS[provider], api_key="none")
        found["vectors"] = [len(one["embedding"]) for one in reply.data]
    return found


def _call(call: Any) -> list[object]:
    return [call.function.name, json.loads(call.function.arguments)]


def information(url: str, model: str) -> dict[str, Any]:
    """What litellm knows of a model by asking the server."""
    info = litellm.get_model_info(f"ollama/{model}", api_base=url)
    return {"tokens": info["max_input_tokens"], "tools": info["supports_function_calling"]}


if __name__ == "__main__":
    real, told = sys.argv[1:]
    found = {provider: answers(provider, real, told) for provider in PROVIDERS}
    print(json.dumps(found | {"smol": information(real, "smol"), "clever": information(told, "clever")}))
