"""History: as much of a conversation as the context holds. The oldest messages go first; system messages, the last question
and the last message never.

As in Ollama (server/prompt.go, v0.33), which forgets the question while tools are called; and the boundary is bisected: the
tokens grow with every message that is kept.
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

Fits: TypeAlias = Callable[[str, int], Awaitable[bool]]
"""Whether the context holds a text, and so many more tokens."""
_ADDED = 8
"""More tokens than a tokenizer puts around a text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given."""

    text: str
    images: int = 0
    dropped: int = 0
    """Messages that were left out."""


async def fit(draft: Draft, least: int, fits: Fits) -> Prompt:
    """The prompt with the most messages that the context holds; with the fewest, where it does not even hold those.

    `fits` is asked only where a context of `least` tokens might not hold it. Raises TemplateError, and whatever `fits` does.
    """
    messages = draft.conversation.messages
    starts = [0, *(i for i in range(1, len(messages)) if messages[i - 1].role != "system")]
    chosen = await _rendered(draft, 0)
    if len(starts) > 1 and not await _fits(draft, chosen, least, fits):
        low, high = 1, len(starts) - 1
        chosen = None
        while low < high:
            middle = (low + high) // 2
            candidate = await _rendered(draft, starts[middle])
            if await _fits(draft, candidate, least, fits):
                chosen, high = candidate, middle
            else:
                low = middle + 1
        chosen = chosen or await _rendered(draft, starts[low])
    return await _prompt(draft, chosen)


async def whole(draft: Draft) -> Prompt:
    """The prompt with all messages. Raises TemplateError."""
    return await _prompt(draft, await _rendered(draft, 0))


async def _prompt(draft: Draft, chosen: _Rendered) -> Prompt:
    kept, text = chosen
    images = _images(kept)
    if images:
        text = await asyncio.to_thread(draft.render, number_images(kept))
    return Prompt(text, images, len(draft.conversation.messages) - len(kept))


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
    question = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    return [message for i, message in enumerate(messages) if i >= start or i == question or message.role == "system"]


async def _fits(draft: Draft, rendered: _Rendered, least: int, fits: Fits) -> bool:
    kept, text = rendered
    more = draft.image_tokens * _images(kept)
    if len(text) + _ADDED + more <= least and len(text.encode()) + _ADDED + more <= least:
        return True  # a token is at least a byte
    return len(text) <= MAX_PROMPT and await fits(text, more)


def _images(messages: Sequence[ChatMessage]) -> int:
    return sum(message.images for message in messages)
