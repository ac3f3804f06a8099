"""Images: where in the text of a conversation they belong, by Ollama's numbers. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ...modelfile.template.conversation import ChatMessage

TOKENS = 768
"""What an image is taken to need of the context."""
_PLACE = "[img]"


def number_images(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages with a tag for each image, counted from 0: in the first place left for one, else before the text."""
    numbers = itertools.count()
    numbered: list[ChatMessage] = []
    for message in messages:
        first, text = "", message.content
        for tag in (f"[img-{next(numbers)}]" for _ in range(message.images)):
            if _PLACE in text:
                text = text.replace(_PLACE, tag, 1)
            else:
                first += tag
        numbered.append(replace(message, content=first + text))
    return numbered
