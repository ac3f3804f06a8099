"""History: as much of a conversation as the context holds. The oldest messages go first, system messages and the last never.

As in Ollama (server/prompt.go, v0.33), but the boundary is bisected: the tokens grow with every message that is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...modelfile.template.conversation import ChatMessage
from ...modelfile.template.errors import TemplateError
from .images import number_images
from .prompt import MAX_PROMPT, Draft

Count: TypeAlias = Callable[[str], Awaitable[int]]
"""How many tokens a text has."""
_ADDED = 8
"""More tokens than a tokenizer puts around a text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given."""

    text: str
    images: int = 0
    dropped: int = 0
    """Messages that were left out."""


async def fit(draft: Draft, limit: int, count: Count) -> Prompt:
    """The prompt with the most messages that has at most `limit` tokens; with the fewest, where none is so short.

    `count` is asked only where the length does not say it. Raises TemplateError, and whatever `count` does.
    """
    messages = draft.conversation.messages
    starts = [0, *(i for i in range(1, len(messages)) if messages[i - 1].role != "system")]
    chosen = await _rendered(draft, 0)
    if len(starts) > 1 and not await _fits(draft, chosen, limit, count):
        low, high = 1, len(starts) - 1
        chosen = None
        while low < high:
            middle = (low + high) // 2
            candidate = await _rendered(draft, starts[middle])
            if await _fits(draft, candidate, limit, count):
                chosen, high = candidate, middle
            else:
                low = middle + 1
        chosen = chosen or await _rendered(draft, starts[low])
    kept, text = chosen
    images = _images(kept)
    if images:
        text = await asyncio.to_thread(draft.render, number_images(kept))
    return Prompt(text, images, len(messages) - len(kept))


_Rendered: TypeAlias = tuple[list[ChatMessage], str]
"""The messages that were kept, and their prompt."""


async def _rendered(draft: Draft, start: int) -> _Rendered:
    """The prompt from `start` on. In a thread: the template is the model's, and may be slow."""
    messages = draft.conversation.messages
    try:
        kept = _since(messages, start)
        return kept, await asyncio.to_thread(draft.render, kept)
    except TemplateError:
        # Some chat templates refuse a conversation that begins with an answer: then it begins with the next question.
        question = next((i for i in range(start + 1, len(messages)) if messages[i].role == "user"), None)
        if not start or question is None:
            raise
        kept = _since(messages, question)
        return kept, await asyncio.to_thread(draft.render, kept)


def _since(messages: Sequence[ChatMessage], start: int) -> list[ChatMessage]:
    return [*(message for message in messages[:start] if message.role == "system"), *messages[start:]]


async def _fits(draft: Draft, rendered: _Rendered, limit: int, count: Count) -> bool:
    kept, text = rendered
    limit -= draft.image_tokens * _images(kept)
    if len(text) + _ADDED <= limit and len(text.encode()) + _ADDED <= limit:
        return True  # a token is at least a byte
    return len(text) <= MAX_PROMPT and await count(text) <= limit


def _images(messages: Sequence[ChatMessage]) -> int:
    return sum(message.images for message in messages)
