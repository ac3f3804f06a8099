"""The frames a server and its workers exchange: four bytes of length, then msgpack. Values only, no sockets here.

A worker is told what to load on its command line; after that the server sends Generate, Embed, Count and Cancel, and the
worker sends LoadProgress and then Loaded or LoadFailed, for each Count a Counted, for each Embed an Embedded, for each
Generate any number of Chunk and at last Finished; or Failed for any of these. While it lives it sends a Beat now and then.
"""

from __future__ import annotations

import struct
from typing import TypeAlias, TypeVar

import msgspec

from ...store.errors import BugError

MAX_FRAME = 64 << 20
_LENGTH = struct.Struct(">I")


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter."""

    path: str
    scale: float = 1.0


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is loaded; a change of any of these needs it loaded anew."""

    num_ctx: int
    """Context per slot, in tokens."""
    slots: int
    """Sequences decoded at once; they share one KV cache of num_ctx * slots tokens."""
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int = 0
    """The one GPU it goes to; below 0 it is spread over all."""
    use_mmap: bool = True
    num_thread: int = 0
    """0 takes as many as are good for the model and the machine."""
    flash_attention: bool | None = None
    """None leaves it to the engine."""
    kv_cache_type: str = "f16"
    """Of keys and values: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl."""
    adapters: tuple[Adapter, ...] = ()
    """All of them are applied to every request."""
    embeds: bool = False
    """It gives embeddings, and no text."""
    use_extra_buffers: bool = True
    """Whether weights may be repacked for this processor's own instructions."""
    deterministic: bool = False
    """One sequence per decode, so that equal requests get equal tokens whatever else runs."""


class Load(msgspec.Struct, frozen=True):
    """The worker's whole task: which file, and how."""

    path: str
    options: LoadOptions


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen; names and defaults are Ollama's."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = -1
    logit_bias: dict[int, float] = {}
    """By token; added before anything else."""
    grammar: str = ""
    """GBNF that the answer keeps to; its first rule is `root`."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Continue a prompt."""

    id: int
    prompt: str
    sampling: Sampling
    stop: list[str]
    num_predict: int
    """Most tokens to generate; 0 and less is up to the end of the context, as in Ollama."""
    num_ctx: int
    """Most tokens of prompt and answer together; the slot's own limit holds too."""
    num_keep: int
    """Tokens kept from the start of a prompt that is too long for the context."""
    before: list[int] = []
    """Tokens that come before the prompt's own."""
    shifts: bool = False
    """Whether old tokens make room when the context is full; else the answer ends there, and a prompt that is too long
    fails."""
    truncates: bool = True
    """Whether a prompt that is too long is cut; else it fails."""
    logprobs: int = -1
    """With each token of the answer its log-probability and those of so many best ones; -1 for none."""
    wants_tokens: bool = False
    """Whether the tokens of prompt and answer are wanted at the end."""
    shown: list[str] = []
    """Special tokens that are part of the text, like a tool call's tags; others have no text."""


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Give the embeddings of texts."""

    id: int
    texts: list[str]
    truncates: bool = True
    """Whether a text that is too long is cut; else the request fails."""


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Say how many tokens a prompt has; it is not evaluated."""

    id: int
    text: str


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Nobody waits for this request any more."""

    id: int


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The worker lives, however long its present evaluation takes."""


class LoadProgress(msgspec.Struct, frozen=True, tag="progress"):
    """Loading goes on: 0 to 1."""

    fraction: float


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is ready."""

    num_ctx: int
    """Context per slot, in tokens, as allocated."""
    train_ctx: int
    bos: str
    """The text of the begin-of-sequence token, for chat templates; "" without one."""
    eos: str
    memory: int
    """Bytes of weights, KV cache and what evaluation needs, as far as the engine says."""
    vram: int = 0
    """How many of them are on GPUs."""
    mapped: int = 0
    """How many of them are the weights' file itself, whose pages the system counts as free."""
    embedding_length: int = 0
    infill: tuple[str, str, str] | None = None
    """The special tokens before a text, before what follows the gap, and before what belongs into it."""


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model cannot be loaded."""

    error: str
    hint: str | None = None


class TokenProbability(msgspec.Struct, frozen=True):
    """What the model made of a token: its bytes, and the natural logarithm of its probability."""

    token: bytes
    logprob: float


class TokenLogprobs(msgspec.Struct, frozen=True):
    """A token of the answer, and the best ones in its place, best first; before any sampling option changed them."""

    chosen: TokenProbability
    top: list[TokenProbability]


class Chunk(msgspec.Struct, frozen=True, tag="chunk"):
    """Some more text of a request."""

    id: int
    text: str
    logprobs: list[TokenLogprobs] = []
    truncated: int = 0
    """Prompt tokens left out because the context could not hold them."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A request is answered."""

    id: int
    reason: str
    """`stop`: the model ended or a stop text came; `length`: num_predict or the context was reached."""
    prompt_tokens: int
    prompt_seconds: float
    tokens: int
    seconds: float
    truncated: int
    """Prompt tokens left out because the context could not hold them."""
    cached: int = 0
    """Prompt tokens that were evaluated for another request before."""
    context: list[int] = []
    """The tokens of prompt and answer, but for those that made room, where they are wanted."""
    stop: str | None = None
    """The stop text that came, if one did."""


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    """The embeddings of texts, normalised."""

    id: int
    vectors: list[bytes]
    """A text's is so many little-endian 32-bit floats."""
    tokens: int
    truncated: int = 0
    """Tokens that were left out, of texts that are too long."""


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """The tokens of a prompt are counted."""

    id: int
    tokens: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A request cannot be answered; the worker lives on."""

    id: int
    error: str
    is_input: bool = False
    """Whether it is the request that is wrong."""
    hint: str | None = None


Request: TypeAlias = Generate | Embed | Count | Cancel
Reply: TypeAlias = Beat | LoadProgress | Loaded | LoadFailed | Chunk | Finished | Embedded | Counted | Failed

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder[Request](Request)
_replies = msgspec.msgpack.Decoder[Reply](Reply)
_T = TypeVar("_T")


def decode_request(body: bytes) -> Request:
    """The request in a frame. Raises BugError."""
    return _decoded(_requests, body)


def decode_reply(body: bytes) -> Reply:
    """The reply in a frame. Raises BugError: a worker whose memory is damaged may send anything."""
    return _decoded(_replies, body)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as cause:
        raise BugError(f"a frame of {len(body)} bytes is no message: {cause}") from None


def frame(message: Request | Reply) -> bytes:
    """The message as bytes for the wire."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise BugError(f"frame of {len(body)} bytes, at most {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes bytes in any pieces and gives whole frame bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are now complete. Raises BugError for a length no sender of ours writes."""
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                raise BugError(f"frame of {length} bytes, at most {MAX_FRAME}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return bodies
