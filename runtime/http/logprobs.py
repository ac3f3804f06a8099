"""Logprobs: what the model made of each token, as OpenAI's API and Ollama's tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.protocol import TokenLogprobs, TokenProbability

MOST_LOGPROBS = 20
"""Best tokens told with each of an answer, as in OpenAI's API."""


def logprob_objects(logprobs: Iterable[TokenLogprobs]) -> list[dict[str, Any]]:
    """An object for each token of the answer, with the best ones in its place."""
    return [_object(token.chosen) | {"top_logprobs": list(map(_object, token.top))} for token in logprobs]


def _object(token: TokenProbability) -> dict[str, Any]:
    # A token may be a part of a character: its bytes are certain.
    return {"token": token.token.decode("utf-8", "replace"), "logprob": token.logprob, "bytes": list(token.token)}
