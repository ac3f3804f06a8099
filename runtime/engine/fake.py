"""FakeDecoder: a model without weights, for tests of everything around one. It keeps the Decoder's contract.

Its tokens are bytes. What it says next is a fixed function of the text so far, so equal prompts get equal answers; a
prompt can steer it: `say:TEXT;` makes it answer TEXT and end.
"""

from __future__ import annotations

import re
import time

import numpy as np
import numpy.typing as npt

from .decoder import AbortedError, CacheFullError, DecodeError, GrammarError, Tokens
from .protocol import Loaded, LoadOptions
from .sampling import Grammar, Ids, Logits

_BEGIN, _END, _CALL = 256, 257, 258
_SPECIAL = {"<s>": _BEGIN, "</s>": _END, "<call>": _CALL}
_SPELLED = {token: text.encode() for text, token in _SPECIAL.items()}
_SPARE = 4
_LITERAL = re.compile(r'\s*root\s*::=\s*"([^"\\]*)"\s*', re.DOTALL)
_TICK = 0.005
"""Seconds between looks at whether a batch is to be aborted."""


class FakeDecoder:
    """See the module. `step_seconds` is how long a batch takes."""

    def __init__(self, options: LoadOptions, *, step_seconds: float = 0.0, rolls_back: bool = True) -> None:
        self.num_ctx = options.num_ctx
        self.slots = options.slots
        self.sequences = options.slots + (0 if options.deterministic else _SPARE)
        self.cells = options.num_ctx * options.slots
        self.num_batch = max(options.num_batch, options.slots)
        self.can_share = not options.deterministic
        self.rolls_back = rolls_back
        self.vocabulary = _CALL + 1
        self.begin = _BEGIN
        self.threads = [1, 2]
        self.batches: list[int] = []
        """How many sequences each batch held."""
        self.evaluated = 0
        """Tokens, in all batches together."""
        self._step_seconds = step_seconds
        self._aborts = False
        self._cells: dict[int, list[tuple[int, int]]] = {number: [] for number in range(self.sequences)}
        """The tokens of each sequence, each with the number of its cell."""
        self._rows: list[list[int]] = []
        self._next_cell = 0

    def describe(self) -> Loaded:
        """What a real model would say of itself."""
        infill = "<pre>", "<suf>", "<mid>"
        return Loaded(num_ctx=self.num_ctx, train_ctx=self.num_ctx, bos="<s>", eos="</s>", memory=1, infill=infill)

    def tokenize(self, text: str) -> list[int]:
        """The begin token and the bytes."""
        return [_BEGIN, *text.encode()]

    def piece(self, token: int) -> bytes:
        """The byte."""
        return bytes([token]) if token < _BEGIN else b""

    def spelling(self, token: int) -> bytes:
        """The byte, or a special token's name."""
        return _SPELLED.get(token) or self.piece(token)

    def special_token(self, text: str) -> int | None:
        """`</s>` is the end token."""
        return _SPECIAL.get(text)

    def is_end(self, token: int) -> bool:
        """Whether it is the end token."""
        return token == _END

    def grammar(self, text: str, _: frozenset[int], /) -> Grammar:
        """One that has only `root ::= "TEXT"`."""
        found = _LITERAL.fullmatch(text)
        if not found:
            raise GrammarError("the grammar cannot be read: this model knows only literal ones")
        return _Literal(found[1].encode())

    def use_threads(self, count: int) -> None:
        """They make it neither faster nor slower."""
        assert count in self.threads

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        """Check what llama.cpp would: positions go on without a gap, and the cache holds."""
        self._take_time()
        if not 1 <= len(tokens) <= self.num_batch:
            raise DecodeError(f"the engine could not evaluate a batch of {len(tokens)}: code -1")
        used = {cell for cells in self._cells.values() for _, cell in cells}
        if len(used) + len(tokens) > self.cells:
            raise CacheFullError(f"the engine could not evaluate a batch of {len(tokens)}: the KV cache is full")
        self._rows = []
        for token, position, sequence, want in zip(tokens, positions, sequences, wanted, strict=True):
            cells = self._cells[int(sequence)]
            if int(position) != len(cells) or len(cells) >= self.num_ctx:
                raise DecodeError(f"the engine could not evaluate a batch of {len(tokens)}: code -1")
            cells.append((int(token), self._next_cell))
            self._next_cell += 1
            if want:
                self._rows.append([token for token, _ in cells])
        self.batches.append(len(set(map(int, sequences))))
        self.evaluated += len(tokens)

    def _take_time(self) -> None:
        end = time.monotonic() + self._step_seconds
        while (left := end - time.monotonic()) > 0 and not self._aborts:
            time.sleep(min(left, _TICK))
        if self._aborts:
            raise AbortedError("the engine could not evaluate a batch: it was aborted")

    def logits(self, index: int) -> Logits:
        """Sure of one token."""
        logits = np.full(self.vocabulary, -np.inf, np.float32)
        logits[self._next(self._rows[index])] = 0
        return logits

    def _next(self, history: list[int]) -> int:
        text = bytes(token for token in history if token < _BEGIN)
        _, marker, after = text.partition(b"say:")
        if marker and b";" in after:
            said, _, answered = after.partition(b";")
            # What the text goes on with after `;` may belong to the prompt: the answer is found by what follows last.
            at = next((i for i in range(len(said), 0, -1) if answered.endswith(said[:i])), 0)
            return said[at] if at < len(said) else _END
        return ord("a") + (sum(history) + len(history)) % 26

    def abort(self) -> None:
        """End the batch of this moment."""
        self._aborts = True

    def allow(self) -> None:
        """Take it back."""
        self._aborts = False

    def share(self, source: int, target: int, count: int) -> bool:
        """Hold the first cells of a sequence too."""
        if len(self._cells[source]) < count or (not self.rolls_back and len(self._cells[source]) != count):
            return False
        self._cells[target] = self._cells[source][:count]
        return True

    def forget(self, sequence: int) -> None:
        """Clear a sequence."""
        self._cells[sequence] = []


class _Literal:
    def __init__(self, text: bytes) -> None:
        self._left = [*text, _END]

    def allowed(self, ids: Ids) -> npt.NDArray[np.bool_]:
        return np.array([bool(self._left) and int(token) == self._left[0] for token in ids])

    def accept(self, token: int) -> None:
        assert self._left.pop(0) == token

    def close(self) -> None:
        """Nothing is held."""
