"""Estimate: what a model will take of the memory, by its GGUF header and how it is to be loaded. Pure.

As llama.cpp allocates it (src/llama-kv-cache*.cpp and llama-hparams.cpp of llama-cpp-python 0.3.36). Which blocks attend
and which carry a state is seen from their tensors. What a header does not say counts as nothing: the engine, which will
refuse such a file or knows better, has the last word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...store.ggml import TENSOR_TYPES
from ...store.header import GGUF, Array
from ..engine.protocol import LoadOptions

PROCESS = 64 << 20
"""Bytes that a worker takes besides: Python, the engine's code, the vocabulary."""
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""What keys and values may be stored as."""
_TYPE_BYTES = {kind.name.lower(): kind.block_bytes / kind.block for kind in TENSOR_TYPES.values()}
_GRAIN = 256
"""Cells are allocated in so many at once."""
_FLOAT = 4
_MAX_BLOCKS = 1 << 10
_BLOCK = re.compile(r"blk\.([0-9]{1,4})\.(.*)")
_STATES = re.compile(r"ssm_|shortconv|time_mix_")
_WINDOW_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "cohere2moe": 4, "exaone4": 4, "exaone-moe": 4,
    "olmo2": 4, "plamo3": 8, "llama4": 4, "afmoe": 4, "laguna": 4, "mellum": 4,
}  # fmt: skip
"""Each how manieth block attends to everything, where the file does not say it; the others to a sliding window only."""
_DENSE_FIRST = frozenset({"cohere2moe", "laguna"})
"""There it is the first of them, else the last."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by where they may lie. Lists go by block, first to last."""

    embedding: int
    """Weights that stay in the machine's own memory."""
    blocks: tuple[int, ...]
    """Weights of each block."""
    output: int
    """Weights behind the last block."""
    caches: tuple[int, ...]
    """Each block's keys, values and states."""
    compute: int
    """What evaluation needs."""

    @property
    def weights(self) -> int:
        """All of them."""
        return self.embedding + sum(self.blocks) + self.output

    @property
    def cache(self) -> int:
        """All keys, values and states."""
        return sum(self.caches)

    @property
    def total(self) -> int:
        """Everything, without the process's own."""
        return self.weights + self.cache + self.compute


def estimate(header: GGUF, options: LoadOptions) -> Estimate:
    """See the module."""
    return _Model(header, options).estimate()


class _Model:
    def __init__(self, header: GGUF, options: LoadOptions) -> None:
        self._header = header
        self._options = options
        self._blocks = min(header.count("block_count") or 0, _MAX_BLOCKS)
        # What gives embeddings keeps nothing from batch to batch, and a batch holds at least one whole text.
        self._batch = max(options.num_batch, options.num_ctx if options.embeds else options.slots)
        self._cells = _padded(self._batch if options.embeds else options.num_ctx * options.slots)
        self._width = header.embedding_length or 0
        self._heads = self._by_block("attention.head_count", 0)
        self._kv_heads = self._by_block("attention.head_count_kv", None) or self._heads
        self._parts: list[set[str]] = [set() for _ in range(self._blocks)]

    def estimate(self) -> Estimate:
        blocks = [0] * self._blocks
        embedding = output = 0
        for tensor in self._header.tensors:
            found = _BLOCK.fullmatch(tensor.name)
            if found and int(found[1]) < self._blocks:
                blocks[int(found[1])] += tensor.size
                self._parts[int(found[1])].add(found[2])
            elif tensor.name.startswith("output"):
                output += tensor.size
            else:
                embedding += tensor.size
        caches = tuple(int(self._keys_and_values(block) + self._state(block)) for block in range(self._blocks))
        return Estimate(embedding, tuple(blocks), output, caches, self._compute())

    def _keys_and_values(self, block: int) -> float:
        heads = self._kv_heads[block]
        if self._has_state(block) and "attn_k.weight" not in self._parts[block]:
            return 0.0
        if self._header.own("attention.causal") is False:
            return 0.0  # it sees each text as a whole, and keeps nothing
        shared = self._header.count("attention.shared_kv_layers") or 0
        if block >= self._blocks - shared:
            return 0.0
        window = self._window(block)
        suffix = "_swa" if window and self._header.own("attention.key_length_swa") is not None else ""
        default = self._width // max(1, self._heads[block])
        keys = self._count(f"attention.key_length{suffix}", default)
        values = self._count(f"attention.value_length{suffix}", default)
        if self._header.own("attention.key_length_mla") is not None:
            values = 0  # they are in the keys
        cells = min(self._cells, window) if window else self._cells
        return cells * heads * (keys + values) * _TYPE_BYTES[self._options.kv_cache_type]

    def _window(self, block: int) -> int:
        """The cells of a block that sees a sliding window only; 0 of one that sees everything."""
        window = self._count("attention.sliding_window", 0)
        pattern = self._header.own("attention.sliding_window_pattern")
        architecture = self._header.architecture
        if isinstance(pattern, Array):
            is_windowed = block < len(pattern.items) and bool(pattern.items[block])
        else:
            period = pattern if isinstance(pattern, int) else _WINDOW_PERIODS.get(architecture, 0)
            last = 0 if architecture in _DENSE_FIRST else period - 1
            is_windowed = period > 0 and block % period != last
        if not window or not is_windowed:
            return 0
        unified = 1 if self._options.deterministic else self._sequences
        return _padded(window * unified + self._options.num_batch)

    @property
    def _sequences(self) -> int:
        """Models that cannot take back a token have as many to spare as there are slots."""
        return self._options.slots if self._options.deterministic else 2 * self._options.slots

    def _has_state(self, block: int) -> bool:
        return any(_STATES.match(part) for part in self._parts[block])

    def _state(self, block: int) -> int:
        """What a recurrent block keeps of its sequences, whatever their length."""
        if not self._has_state(block):
            return 0
        conv, inner = self._count("ssm.conv_kernel", 0), self._count("ssm.inner_size", 0)
        size, groups = self._count("ssm.state_size", 0), self._count("ssm.group_count", 0)
        floats = max(0, conv - 1) * (inner + 2 * groups * size) + size * inner
        if heads := self._count("wkv.head_size", 0):
            floats = self._width * (self._count("token_shift_count", 2) + heads)
        elif short := self._count("shortconv.l_cache", 0):
            floats = self._width * (short - 1)
        elif wide := self._count("kda.head_dim", 0):
            floats = self._heads[block] * wide * (3 * max(0, conv - 1) + wide)
        return floats * _FLOAT * self._sequences

    def _compute(self) -> int:
        batch = min(self._batch, self._cells)
        inner = max(self._by_block("feed_forward_length", 0), default=0)
        floats = batch * (3 * self._width + 2 * inner)
        # Without a text to come, the engine allocates the scores of every token of a batch.
        floats += 2 * (batch if self._options.embeds else self._options.slots) * self._vocabulary
        masks = 6 * batch * self._cells
        if self._options.flash_attention is False:
            masks += _FLOAT * batch * self._cells * max(self._heads, default=0)
        return floats * _FLOAT + (masks if self._blocks else 0)

    @property
    def _vocabulary(self) -> int:
        tokens = self._header.metadata.get("tokenizer.ggml.tokens")
        return tokens.count if isinstance(tokens, Array) else 0

    def _count(self, key: str, default: int) -> int:
        found = self._header.count(key)
        return default if found is None else max(0, found)

    def _by_block(self, key: str, default: int | None) -> list[int]:
        """A number of each block: the file has one for all, or a list, of which the reader may have kept the first."""
        value = self._header.own(key)
        if isinstance(value, Array):
            known = [item if isinstance(item, int) else 0 for item in value.items[: self._blocks]]
            return known + [max(known, default=0)] * (self._blocks - len(known))
        if isinstance(value, int):
            return [max(0, value)] * self._blocks
        return [] if default is None else [default] * self._blocks


def _padded(cells: int) -> int:
    return -(-cells // _GRAIN) * _GRAIN
