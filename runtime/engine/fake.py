"""FakeDecoder: a model without weights, for tests of everything around one. It keeps the Decoder's contract.

Its tokens are bytes. What it says next is a fixed function of the text so far, so equal prompts get equal answers; a
prompt can steer it: `say:TEXT;` makes it answer TEXT and end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .decoder import DecodeError, Sampler, Tokens
from .protocol import Loaded, LoadOptions, Sampling

_BEGIN, _END = 256, 257


class FakeDecoder:
    """See the module. `step_seconds` is how long a batch takes."""

    def __init__(self, options: LoadOptions, *, step_seconds: float = 0.0) -> None:
        self.num_ctx = options.num_ctx
        self.slots = options.slots
        self.num_batch = max(options.num_batch, options.slots)
        self.can_share = not options.deterministic
        self.batches: list[int] = []
        """How many sequences each batch held."""
        self._step_seconds = step_seconds
        self._cells: dict[int, list[int]] = {slot: [] for slot in range(options.slots)}
        self._rows: list[list[int] | None] = []

    def describe(self) -> Loaded:
        """What a real model would say of itself."""
        return Loaded(num_ctx=self.num_ctx, train_ctx=self.num_ctx, bos="<s>", eos="</s>", memory=1)

    def tokenize(self, text: str) -> list[int]:
        """The begin token and the bytes."""
        return [_BEGIN, *text.encode()]

    def piece(self, token: int) -> bytes:
        """The byte."""
        return bytes([token]) if token < _BEGIN else b""

    def special_token(self, text: str) -> int | None:
        """`</s>` is the end token."""
        return {"<s>": _BEGIN, "</s>": _END}.get(text)

    def is_end(self, token: int) -> bool:
        """Whether it is the end token."""
        return token == _END

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        """A sampler that follows the prompt's `say:`; there is nothing random to set."""
        del sampling
        text = bytes(token for token in prompt if token < _BEGIN)
        said = text.partition(b"say:")[2].partition(b";")[0] if b"say:" in text else None
        return _FakeSampler(self, said, len(prompt))

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: npt.NDArray[np.int8]) -> None:
        """Check what llama.cpp would: positions go on without a gap, and the cache holds."""
        time.sleep(self._step_seconds)
        if not 1 <= len(tokens) <= self.num_batch:
            raise DecodeError(f"the engine could not evaluate a batch of {len(tokens)}: code -1")
        self._rows = []
        for token, position, sequence, want in zip(tokens, positions, sequences, wanted, strict=True):
            cells = self._cells[int(sequence)]
            if int(position) != len(cells) or len(cells) >= self.num_ctx:
                raise DecodeError(f"the engine could not evaluate a batch of {len(tokens)}: code -1")
            cells.append(int(token))
            self._rows.append(list(cells) if want else None)
        self.batches.append(len(set(sequences.tolist())))

    def share(self, source: int, target: int, count: int) -> None:
        """Copy the beginning of a sequence."""
        self._cells[target] = self._cells[source][:count]

    def forget(self, sequence: int) -> None:
        """Clear a sequence."""
        self._cells[sequence] = []

    def history(self, row: int) -> list[int]:
        """All tokens before what the row predicts; the row must have been asked for."""
        cells = self._rows[row]
        assert cells is not None, "sampled a row whose logits were not asked for"
        return cells


class _FakeSampler:
    def __init__(self, decoder: FakeDecoder, said: bytes | None, prompt_size: int) -> None:
        self._decoder = decoder
        self._said = said
        self._prompt_size = prompt_size

    def sample(self, row: int) -> int:
        history = self._decoder.history(row)
        at = len(history) - self._prompt_size
        if self._said is not None:
            return self._said[at] if at < len(self._said) else _END
        return ord("a") + (sum(history) + len(history)) % 26

    def close(self) -> None:
        """Nothing is held."""
