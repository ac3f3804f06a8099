"""A generator of files that harm who trusts them, each a sound model with one thing wrong."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from corral.runtime.engine.llama.specimen import specimen
from corral.store import gguf

from tests.weights import ARRAY, FLOAT, INT, STRING, UINT, pair, string, text_pair

HUGE = 2**62


@dataclass(frozen=True)
class Parts:
    """A model taken apart."""

    pairs: dict[str, bytes]
    tensors: dict[str, bytes]
    """What the header says of each."""
    body: bytes
    head: bytes = b"GGUF" + struct.pack("<I", 3)
    counts: tuple[int, int] | None = None
    padding: int = field(default=32)

    def joined(self) -> bytes:
        """The file."""
        counts = self.counts or (len(self.tensors), len(self.pairs))
        header = self.head + struct.pack("<QQ", *(count % 2**64 for count in counts))
        header += b"".join(self.pairs.values()) + b"".join(self.tensors.values())
        return header + bytes(-len(header) % self.padding) + self.body

    def having(self, *pairs: tuple[str, bytes]) -> Parts:
        """With pairs changed or added; one of no bytes is left out."""
        merged = {key: value for key, value in (self.pairs | dict(pairs)).items() if value}
        return replace(self, pairs=merged)

    def described(self, name: str, shape: tuple[int, ...], kind: int, offset: int, dimensions: int = 0) -> Parts:
        """With one tensor described otherwise."""
        said = string(name) + struct.pack("<I", dimensions or len(shape))
        said += struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)
        return replace(self, tensors=self.tensors | {name: said})


def sound() -> Parts:
    """A model with nothing wrong."""
    data = specimen()
    header = gguf.parse(io.BytesIO(data), len(data), "specimen")
    numbers = {"F32": 0, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_XS": 23}
    parts = Parts({key: data[start:end] for key, (start, end) in header.pairs.items()}, {}, data[header.data_start :])
    for tensor in header.tensors:
        parts = parts.described(tensor.name, tensor.shape, numbers[tensor.type], tensor.offset)
    assert parts.joined() == data
    return parts


def number(key: str, value: int) -> tuple[str, bytes]:
    """A pair."""
    return key, pair(key, UINT, struct.pack("<I", value % 2**32))


def text(key: str, value: str) -> tuple[str, bytes]:
    """A pair."""
    return key, text_pair(key, value)


def vocabulary(tokens: list[str], *, count: int | None = None) -> list[tuple[str, bytes]]:
    """The pairs of another vocabulary."""
    claimed = len(tokens) if count is None else count
    texts, scores, types = (f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type"))
    size = len(tokens)
    return [
        (texts, pair(texts, ARRAY, struct.pack("<IQ", STRING, claimed) + b"".join(map(string, tokens)))),
        (scores, pair(scores, ARRAY, struct.pack(f"<IQ{size}f", FLOAT, size, *[0.0] * size))),
        (types, pair(types, ARRAY, struct.pack(f"<IQ{size}i", INT, size, *[1] * size))),
    ]


MODEL = sound()
_EMBEDDING = "token_embd.weight"
_SIZE = len(MODEL.joined())
_HEADER = _SIZE - len(MODEL.body)

_HEADS = "llama.attention.head_count"
_LIST = "tokenizer.ggml.tokens"
KINDS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "magic": lambda: replace(MODEL, head=b"GGML" + struct.pack("<I", 3)).joined(),
    "version 0": lambda: replace(MODEL, head=b"GGUF" + struct.pack("<I", 0)).joined(),
    "version 1": lambda: replace(MODEL, head=b"GGUF" + struct.pack("<I", 1)).joined(),
    "version 2**32-1": lambda: replace(MODEL, head=b"GGUF" + struct.pack("<I", 2**32 - 1)).joined(),
    "the other endianness": lambda: replace(MODEL, head=b"GGUF" + struct.pack(">I", 3)).joined(),
    **{
        f"cut at {where}": lambda at=at: MODEL.joined()[:at]
        for where, at in {
            "4": 4,
            "the counts": 12,
            "a pair": 300,
            "the end of the header": _HEADER,
            "the first weights": _HEADER + 99,
            "the middle": _SIZE // 2,
            "the last byte": _SIZE - 1,
        }.items()
    },
    "huge number of tensors": lambda: replace(MODEL, counts=(HUGE, len(MODEL.pairs))).joined(),
    "huge number of pairs": lambda: replace(MODEL, counts=(len(MODEL.tensors), HUGE)).joined(),
    "negative counts": lambda: replace(MODEL, counts=(-1, -1)).joined(),
    "no tensors": lambda: replace(MODEL, tensors={}, body=b"").joined(),
    "no pairs": lambda: replace(MODEL, pairs={}).joined(),
    "a text of huge length": lambda: MODEL.having(("x", string("x") + struct.pack("<IQ", STRING, HUGE))).joined(),
    "a key of huge length": lambda: MODEL.having(("x", struct.pack("<Q", HUGE))).joined(),
    "a list of huge length": lambda: MODEL.having(("x", string("x") + struct.pack("<IIQ", ARRAY, UINT, HUGE))).joined(),
    "a list of lists": lambda: MODEL.having(("x", string("x") + struct.pack("<IIQ", ARRAY, ARRAY, 1 << 20))).joined(),
    "a pair of an unknown type": lambda: MODEL.having(("x", string("x") + struct.pack("<II", 99, 0))).joined(),
    "a tensor of huge size": lambda: MODEL.described(_EMBEDDING, (HUGE, HUGE), 0, 0).joined(),
    "a tensor of nothing": lambda: MODEL.described(_EMBEDDING, (0, 288), 8, 0).joined(),
    "a tensor of another shape": lambda: MODEL.described(_EMBEDDING, (288, 256), 0, 0).joined(),
    "a tensor of 9 dimensions": lambda: MODEL.described(_EMBEDDING, (1,) * 9, 0, 0).joined(),
    "a tensor of 2**32-1 dimensions": lambda: MODEL.described(_EMBEDDING, (256, 288), 8, 0, 2**32 - 1).joined(),
    "a tensor of an unknown type": lambda: MODEL.described(_EMBEDDING, (256, 288), 77, 0).joined(),
    "a tensor of a type that is gone": lambda: MODEL.described(_EMBEDDING, (256, 288), 4, 0).joined(),
    "a tensor beyond the end": lambda: MODEL.described(_EMBEDDING, (256, 288), 8, 1 << 40).joined(),
    "a tensor between": lambda: MODEL.described(_EMBEDDING, (256, 288), 8, 7).joined(),
    "a tensor at a negative place": lambda: MODEL.described(_EMBEDDING, (256, 288), 8, 2**64 - 32).joined(),
    "alignment 0": lambda: MODEL.having(number("general.alignment", 0)).joined(),
    "alignment 3": lambda: MODEL.having(number("general.alignment", 3)).joined(),
    "an unknown architecture": lambda: MODEL.having(text("general.architecture", "nothing")).joined(),
    "an architecture that is none": lambda: MODEL.having(text("general.architecture", "\x1b[2J\0")).joined(),
    "no architecture": lambda: MODEL.having(("general.architecture", b"")).joined(),
    "another architecture": lambda: MODEL.having(text("general.architecture", "mamba")).joined(),
    **{
        f"{key} {value}": lambda key=key, value=value: MODEL.having(number(f"llama.{key}", value)).joined()
        for key, values in {
            "block_count": (0, 2, 512, 2**31, 2**32 - 1),
            "context_length": (0, 1, 2**31, 2**32 - 1),
            "embedding_length": (0, 1, 255, 2**31),
            "feed_forward_length": (0, 2**31),
            "attention.head_count": (0, 3, 256, 2**31, 2**32 - 1),
            "attention.head_count_kv": (0, 3, 7, 2**31),
            "rope.dimension_count": (0, 1, 2**31),
            "expert_count": (1, 8, 2**31),
            "vocab_size": (0, 1, 2**31),
        }.items()
        for value in values
    },
    "heads by layer": lambda: MODEL.having((_HEADS, pair(_HEADS, ARRAY, struct.pack("<IQ", UINT, 0)))).joined(),
    "epsilon NaN": lambda: MODEL.having(
        (
            "llama.attention.layer_norm_rms_epsilon",
            pair("llama.attention.layer_norm_rms_epsilon", FLOAT, struct.pack("<f", float("nan"))),
        )
    ).joined(),
    "an RWKV vocabulary without bytes": lambda: MODEL.having(text("tokenizer.ggml.model", "rwkv")).joined(),
    "weights of NaN": lambda: replace(MODEL, body=b"\xff" * len(MODEL.body)).joined(),
    "weights of 0": lambda: replace(MODEL, body=bytes(len(MODEL.body))).joined(),
    "ends and begins beyond the vocabulary": lambda: MODEL.having(
        number("tokenizer.ggml.bos_token_id", 10**6), number("tokenizer.ggml.eos_token_id", 2**32 - 2)
    ).joined(),
    "a vocabulary of one": lambda: MODEL.having(*vocabulary(["a"])).joined(),
    "a vocabulary of nothing": lambda: MODEL.having(*vocabulary([])).joined(),
    "a vocabulary of one text": lambda: MODEL.having(*vocabulary(["a"] * 288)).joined(),
    "a vocabulary longer than said": lambda: MODEL.having(*vocabulary(["a"] * 288, count=HUGE)).joined(),
    "a vocabulary without bytes": lambda: MODEL.having(*vocabulary([f"t{i}" for i in range(288)])).joined(),
    "no vocabulary": lambda: MODEL.having((_LIST, b"")).joined(),
    "an unknown tokenizer": lambda: MODEL.having(text("tokenizer.ggml.model", "nothing")).joined(),
    "byte pairs without merges": lambda: MODEL.having(text("tokenizer.ggml.model", "gpt2")).joined(),
    "a template without end": lambda: MODEL.having(
        text(
            "tokenizer.chat_template",
            "{% for i in range(10**18) %}{% for j in range(10**18) %}x{% endfor %}{% endfor %}",
        )
    ).joined(),
    "a template that reaches out": lambda: MODEL.having(
        text("tokenizer.chat_template", "{{ ''.__class__.__mro__[1].__subclasses__() }}")
    ).joined(),
    "a template that is none": lambda: MODEL.having(text("tokenizer.chat_template", "{% for %}")).joined(),
    "a template of gigabytes": lambda: MODEL.having(
        text("tokenizer.chat_template", "{{ ('x' * 10**5) * 10**5 }}")
    ).joined(),
}


def endless() -> bytes:
    """A sound model whose answers never end."""
    texts = MODEL.pairs[_LIST].replace(b"</s>", b"<!s>")
    return MODEL.having((_LIST, texts), number("llama.context_length", 1 << 20)).joined()


def flipped(seed: int, count: int) -> Iterator[bytes]:
    """Files with one to eight bits of their header flipped."""
    choose = random.Random(seed)
    for _ in range(count):
        data = bytearray(MODEL.joined())
        for _ in range(choose.choice((1, 1, 2, 8))):
            data[choose.randrange(_HEADER)] ^= 1 << choose.randrange(8)
        yield bytes(data)
