"""From token bytes to text: whole characters only, and nothing of a stop text. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Feed it the bytes of each token; it gives the text that may be shown.

    A character whose bytes are still coming, and text that may turn out to begin a stop text, is held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self.stop: str | None = None
        """The stop text that has come; nothing is given after it."""

    def feed(self, data: bytes) -> str:
        """The text that is now certain."""
        return self._release(self._decode(data))

    def end(self) -> str:
        """What was held back and is certain now that nothing follows."""
        text = self._release(self._decode(b"", final=True))
        rest, self._held = self._held, ""
        return text + rest if self.stop is None else text

    def _release(self, text: str) -> str:
        if self.stop is not None:
            return ""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.stop = min(found)
            text, self._held = self._held[:at], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
