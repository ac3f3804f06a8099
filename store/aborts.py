"""Aborts: metadata on which llama.cpp ends its process (an assertion, a division by zero) rather than refuse the file.

The conditions are those of llama_model_base::load_hparams in the version that is pinned. It also dies of a vocabulary that
has a text twice or lacks a byte; to see that all texts would have to be read, so there only the worker's process ends. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .errors import shown
from .header import GGUF, Array, Value
from .scanner import MAX_STRINGS

_COUNTS = {
    "block_count": (1, 512),
    "context_length": (1, 1 << 31),
    "embedding_length": (1, 1 << 24),
    "vocab_size": (0, MAX_STRINGS),
    "expert_count": (0, 1024),
}
"""The least and the most of each."""
_EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "attention.group_norm_epsilon")
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_TOKENS = "tokenizer.ggml.tokens"


def why_it_would_abort(header: GGUF) -> str | None:
    """What is wrong with a model's metadata, None when nothing is."""
    return next(_reasons(header), None)


def _reasons(header: GGUF) -> Iterator[str]:
    own = header.architecture
    for key, (least, most) in _COUNTS.items():
        value = header.own(key)
        if value is not None and not (type(value) is int and least <= value <= most):
            yield f"{own}.{key} is {_brief(value)}, expected {least} to {most}"
    heads = header.own("attention.head_count")
    if heads == 0 or not _is_counts(heads):
        yield f"{own}.attention.head_count is {_brief(heads)}, expected a positive number"
    for key in _EPSILONS:
        value = header.own(key)
        if value is not None and not (isinstance(value, int | float) and 0 <= value < math.inf):
            yield f"{own}.{key} is {_brief(value)}, expected a number from 0"
    yield from _experts(header)
    scaling = header.own("rope.scaling.type")
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        yield f"{own}.rope.scaling.type is {_brief(scaling)}, expected one of {', '.join(_ROPE_SCALINGS)}"
    more, blocks = header.count("nextn_predict_layers") or 0, header.count("block_count")
    if blocks is not None and not 0 <= more <= blocks:
        yield f"{own}.nextn_predict_layers is {more}, there are {blocks} blocks"
    yield from _tokenizer(header)


def _experts(header: GGUF) -> Iterator[str]:
    own, experts = header.architecture, header.count("expert_count") or 0
    if experts <= 1 and own.startswith("hunyuan"):
        return  # The engine takes such a model for one without experts.
    used = header.own("expert_used_count")
    is_none = experts and not any(_each(used)) and (not isinstance(used, Array) or used.is_whole)
    if is_none or not _is_counts(used, experts):
        yield f"{own}.expert_used_count is {_brief(used)}, of {experts} experts"
    groups, groups_used = header.count("expert_group_count") or 0, header.count("expert_group_used_count") or 0
    if groups and not 0 < groups < experts:
        yield f"{own}.expert_group_count is {groups}, of {experts} experts"
    elif groups > 1 and (experts % groups or not 0 < groups_used < groups):
        yield f"{own}.expert_group_used_count is {groups_used}, of {groups} groups of {experts} experts"


def _tokenizer(header: GGUF) -> Iterator[str]:
    """The engine refuses these without dying, but what reads the vocabulary here relies on them too."""
    tokens = header.metadata.get(_TOKENS)
    if tokens is None:
        return
    if not isinstance(tokens, Array) or any(not isinstance(text, str) for text in tokens.items):
        yield f"{_TOKENS} is {_brief(tokens)}, expected a list of texts"
        return
    for key, kinds in (("token_type", (int,)), ("scores", (int, float))):
        value = header.metadata.get(f"tokenizer.ggml.{key}")
        if value is None:
            continue
        if not isinstance(value, Array) or any(type(item) not in kinds for item in value.items):
            yield f"tokenizer.ggml.{key} is {_brief(value)}, expected a list of numbers"
        elif value.count < tokens.count:
            yield f"tokenizer.ggml.{key} has {value.count} items, there are {tokens.count} tokens"


def _is_counts(value: Value | None, most: int = 1 << 31) -> bool:
    """Whether a value that may be one for all layers or one for each is of whole numbers from 0."""
    return all(type(count) is int and 0 <= count <= most for count in _each(value))


def _each(value: Value | None) -> tuple[object, ...]:
    return value.items if isinstance(value, Array) else () if value is None else (value,)


def _brief(value: Value | None) -> str:
    return shown(value) if isinstance(value, str) else f"{value!r:.80}"
