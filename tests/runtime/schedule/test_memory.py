"""What a model will take, against what the engine takes, and on headers made for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.memory import Estimate, estimate
from corral.store import gguf
from corral.store.header import GGUF, Array, Tensor, Value

OPTIONS = LoadOptions(num_ctx=1024, slots=2)
CELLS = 2048


def model(*parts: str, **own: Value) -> GGUF:
    """A model of blocks that all have these tensors; `_` in a key stands for a point where it is doubled."""
    architecture, blocks = str(own.pop("architecture", "llama")), own.pop("blocks", 4)
    assert isinstance(blocks, int)
    metadata: dict[str, Value] = {"general.architecture": architecture, f"{architecture}.block_count": blocks}
    base: dict[str, Value] = {"embedding_length": 64, "attention__head_count": 4, "attention__head_count_kv": 2}
    metadata |= {f"{architecture}.{key.replace('__', '.')}": value for key, value in (base | own).items()}
    names = [f"blk.{block}.{part}" for block in range(blocks) for part in (parts or ("attn_k.weight",))]
    tensors = [Tensor(name, (1,), "F32", 0, 100) for name in names]
    tensors += [Tensor("token_embd.weight", (1,), "F32", 0, 7000), Tensor("output.weight", (1,), "F32", 0, 5000)]
    return GGUF(3, metadata, tuple(tensors), 32, 0, {})


def caches(header: GGUF, options: LoadOptions = OPTIONS) -> list[int]:
    return list(estimate(header, options).caches)


def test_weights_lie_where_their_names_say() -> None:
    found = estimate(model("attn_k.weight", "ffn_up.weight"), OPTIONS)
    assert (found.embedding, found.blocks, found.output) == (7000, (200,) * 4, 5000)
    assert found.weights == 12800
    assert found.total == found.weights + found.cache + found.compute


def test_a_cell_has_keys_and_values_of_each_head() -> None:
    assert caches(model()) == [CELLS * 2 * (16 + 16) * 2] * 4
    assert caches(model(attention__key_length=100, attention__value_length=20)) == [CELLS * 2 * 120 * 2] * 4
    assert caches(model(), msgspec.structs.replace(OPTIONS, num_ctx=10)) == [256 * 2 * 32 * 2] * 4


def test_what_gives_embeddings_keeps_no_more_than_a_batch() -> None:
    options = LoadOptions(num_ctx=512, slots=32, num_batch=256, embeds=True)
    assert caches(model(), options) == [512 * 2 * 32 * 2] * 4
    assert caches(model(), msgspec.structs.replace(options, num_batch=1024)) == [1024 * 2 * 32 * 2] * 4


@pytest.mark.parametrize(("kind", "share"), [("f32", 2), ("bf16", 1), ("q8_0", 34 / 64), ("q4_0", 18 / 64)])
def test_types_of_the_cache(kind: str, share: float) -> None:
    options = msgspec.structs.replace(OPTIONS, kv_cache_type=kind)
    assert caches(model(), options) == [int(size * share) for size in caches(model())]


def test_heads_may_differ_by_block_and_the_reader_may_not_have_all() -> None:
    heads = model(attention__head_count_kv=Array(4, (1, 2, 4, 0)))
    assert caches(heads) == [CELLS * n * 32 * 2 for n in (1, 2, 4, 0)]
    cut = model(blocks=6, attention__head_count_kv=Array(6, (1, 2)))
    assert caches(cut) == [CELLS * n * 32 * 2 for n in (1, 2, 2, 2, 2, 2)]


def test_a_window_is_all_that_its_blocks_keep() -> None:
    window: dict[str, Value] = {"attention__sliding_window": 100}
    full, short = CELLS * 2 * 32 * 2, 1024 * 2 * 32 * 2  # 4 sequences of 100, and a batch of 512
    assert caches(model(architecture="gemma2", **window)) == [short, full] * 2
    assert caches(model(architecture="cohere2", **window)) == [short, short, short, full]
    assert caches(model(architecture="laguna", **window)) == [full, short, short, short]
    assert caches(model(**window)) == [full] * 4
    pattern = Array(4, (True, False, False, True))
    assert caches(model(attention__sliding_window_pattern=pattern, **window)) == [short, full, full, short]
    assert caches(model(attention__sliding_window_pattern=2, **window)) == [short, full] * 2
    alone = msgspec.structs.replace(OPTIONS, deterministic=True)
    assert caches(model(architecture="gemma2", **window), alone)[0] == 768 * 2 * 32 * 2


def test_recurrent_blocks_keep_a_state_for_each_sequence() -> None:
    state: dict[str, Value] = {
        "ssm__conv_kernel": 4,
        "ssm__inner_size": 128,
        "ssm__state_size": 16,
        "ssm__group_count": 1,
    }
    each = 4 * (3 * (128 + 2 * 16) + 16 * 128) * 4
    assert caches(model("ssm_in.weight", **state)) == [each] * 4
    keys = CELLS * 2 * 32 * 2
    assert caches(model("ssm_in.weight", "attn_k.weight", **state)) == [each + keys] * 4
    wide = msgspec.structs.replace(OPTIONS, num_ctx=100_000)
    assert caches(model("ssm_in.weight", **state), wide) == [each] * 4
    assert caches(model("time_mix_key.weight", wkv__head_size=8)) == [4 * 64 * (2 + 8) * 4] * 4
    assert caches(model("shortconv.conv.weight", shortconv__l_cache=3)) == [4 * 64 * 2 * 4] * 4


def test_other_kinds_of_attention() -> None:
    assert caches(model(attention__causal=False)) == [0] * 4
    assert caches(model(attention__shared_kv_layers=3))[1:] == [0] * 3
    assert caches(model(attention__key_length=80, attention__key_length_mla=24)) == [CELLS * 2 * 80 * 2] * 4


def test_evaluation_without_flash_attention_needs_more() -> None:
    plain = msgspec.structs.replace(OPTIONS, flash_attention=False)
    assert estimate(model(), plain).compute > estimate(model(), OPTIONS).compute


@pytest.mark.parametrize("own", [{}, {"block_count": 0}, {"block_count": 1 << 62}, {"block_count": -1}])
def test_a_header_that_says_little_or_too_much_has_an_estimate(own: dict[str, Value]) -> None:
    metadata: dict[str, Value] = {f"llama.{key}": value for key, value in own.items()}
    found = estimate(GGUF(3, {"general.architecture": "llama"} | metadata, (), 32, 0, {}), OPTIONS)
    assert isinstance(found, Estimate)
    assert found.weights == 0


ASK = """
import ctypes, json, sys, llama_cpp as L
path, cells, sequences, kind = sys.argv[1], *map(int, sys.argv[2:])
log = L.llama_log_callback(lambda level, text, _: print(text.decode(), end=""))
L.llama_log_set(log, ctypes.c_void_p(0))
model = L.llama_model_load_from_file(path.encode(), L.llama_model_default_params())
params = L.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = cells, 64, 64, sequences
params.kv_unified, params.swa_full, params.type_k, params.type_v = True, False, kind, kind
assert L.llama_init_from_model(model, params)
"""


@pytest.mark.parametrize(("kind", "number"), [("f16", 1), ("q8_0", 8)])
def test_the_engine_allocates_what_was_foreseen(smollm2: Path, kind: str, number: int) -> None:
    options = LoadOptions(num_ctx=1024, slots=2, num_batch=64, kv_cache_type=kind)
    command = [sys.executable, "-c", ASK, str(smollm2), str(CELLS), "4", str(number)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    caches = [float(size) for size in re.findall(r"KV buffer size = +([0-9.]+) MiB", said)]
    weights = [float(size) for size in re.findall(r"model buffer size = +([0-9.]+) MiB", said)]
    found = estimate(gguf.read(smollm2), options)
    assert found.cache / (1 << 20) == pytest.approx(sum(caches), rel=0.01)
    assert found.weights / (1 << 20) == pytest.approx(sum(weights), rel=0.05)
