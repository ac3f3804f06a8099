"""LoRA adapters on the real model: what they change, what they leave alone, and which files are refused."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from corral.runtime.engine.llama.adapters import why_wrong
from corral.runtime.engine.llama.decoder import LlamaDecoder
from corral.runtime.engine.llama.library import LoadError
from corral.runtime.engine.protocol import Adapter, LoadOptions
from corral.runtime.served import planned, served
from corral.store import gguf

from corral import Name, Store, parse
from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.engine.lora import RANK, WIDTH, Tensors, random_tensors, write

NAME = "blk.0.attn_q.weight"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lora") / "random.gguf")


def logits(model: Path, *adapters: Adapter) -> npt.NDArray[Any]:
    """What the model, loaded so, expects after a text."""
    options = LoadOptions(num_ctx=64, slots=1, num_thread=1, deterministic=True, adapters=adapters)
    decoder = LlamaDecoder(str(model), options, lambda _: None)
    tokens = np.array(decoder.tokenize("The capital of France is"), np.int32)
    wanted = np.zeros(len(tokens), np.int8)
    wanted[-1] = 1
    decoder.decode(tokens, np.arange(len(tokens), dtype=np.int32), np.zeros(len(tokens), np.int32), wanted)
    return decoder.logits(0).copy()


def test_an_adapter_changes_the_logits_by_its_scale_and_leaves_nothing_behind(smollm2: Path, adapter: Path) -> None:
    base = logits(smollm2)
    once, weaker, none = (logits(smollm2, Adapter(str(adapter), scale)) for scale in (1.0, 0.1, 0.0))
    assert np.abs(once - base).max() > 1
    assert 0 < np.abs(weaker - base).max() < np.abs(once - base).max()
    assert np.array_equal(none, base)
    assert np.array_equal(logits(smollm2, Adapter(str(adapter))), once)
    assert np.array_equal(logits(smollm2), base)


def test_adapters_are_all_applied(smollm2: Path, adapter: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.gguf", random_tensors(8))
    first, second = Adapter(str(adapter)), Adapter(str(other))
    alone = [logits(smollm2, first), logits(smollm2, second)]
    both = logits(smollm2, first, second)
    assert all(np.abs(both - one).max() > 1 for one in alone)
    assert np.array_equal(logits(smollm2, first, Adapter(str(other), 0.0)), alone[0])


def test_an_adapter_without_alpha_has_the_scale_alone(smollm2: Path, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.gguf", alpha=None)
    as_rank = write(tmp_path / "rank.gguf", alpha=float(RANK))
    assert np.array_equal(logits(smollm2, Adapter(str(plain))), logits(smollm2, Adapter(str(as_rank))))


def pair(a: Sequence[int], b: Sequence[int], *, name: str = NAME, kind: npt.DTypeLike = np.float32) -> Tensors:
    return {f"{name}.lora_a": np.zeros(tuple(a), kind), f"{name}.lora_b": np.zeros(tuple(b), kind)}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"kind": "model"}, "general.type is 'model', expected 'adapter'"),
        ({"adapter": "dora"}, "adapter.type is 'dora', expected 'lora'"),
        ({"architecture": "bert"}, "general.architecture is 'bert', expected 'llama'"),
        ({"alpha": 8}, "adapter.lora.alpha is 8, expected a 32-bit number"),
        ({"alpha": "8"}, "adapter.lora.alpha is 8.0, expected a 32-bit number"),
        ({"alpha": float("nan")}, "adapter.lora.alpha is nan, expected a 32-bit number"),
        ({"tensors": {"blk.0.attn_norm.weight": np.zeros(WIDTH, np.float32)}}, "it changes no tensor"),
        ({"tensors": {NAME: np.zeros((4, 4), np.float32)}}, f"tensor '{NAME}' is neither lora_a nor lora_b"),
        (
            {"tensors": {f"{NAME}.lora_a": np.zeros((4, WIDTH), np.float32)}},
            f"tensor '{NAME}' has only one of lora_a and lora_b",
        ),
        (
            {"tensors": pair((4, WIDTH), (WIDTH, 5))},
            f"the parts of '{NAME}' do not fit together: [576, 4, 1, 1] and [5, 576, 1, 1]",
        ),
        (
            {"tensors": pair((2, 4, WIDTH), (2, WIDTH, 4))},
            f"the parts of '{NAME}' do not fit together: [576, 4, 2, 1] and [4, 576, 2, 1]",
        ),
        (
            {"tensors": pair((4, WIDTH), (WIDTH, 4), kind=np.int32)},
            f"tensor '{NAME}.lora_a' is of type I32, expected one of F32, F16, BF16",
        ),
        ({"tensors": pair((4, WIDTH), (WIDTH, 4), name="blk.99.attn_q.weight")}, "its tensors do not fit this model"),
        ({"tensors": pair((4, 64), (64, 4))}, "its tensors do not fit this model"),
    ],
)
def test_error_an_adapter_that_does_not_fit(smollm2: Path, tmp_path: Path, given: dict[str, Any], why: str) -> None:
    path = write(tmp_path / "bad.gguf", **given)
    with pytest.raises(LoadError) as raised:
        logits(smollm2, Adapter(str(path)))
    assert str(raised.value) == f"adapter bad.gguf: {why}"
    assert raised.value.hint is not None
    assert "ADAPTER" in raised.value.hint


def test_error_an_adapter_that_is_damaged_or_gone(smollm2: Path, adapter: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(adapter.read_bytes()[:-100])
    for path, words in ((cut, "adapter cut.gguf: invalid GGUF: truncated"), (tmp_path / "gone.gguf", "gone.gguf")):
        with pytest.raises(LoadError, match=words):
            logits(smollm2, Adapter(str(path)))


def test_parts_of_experts_and_of_the_embedding_table_have_shapes_of_their_own(tmp_path: Path) -> None:
    experts = pair((8, 4, 64), (8, 32, 4), name="blk.0.ffn_up_exps.weight")
    table = pair((100, 4), (64, 4), name="token_embd.weight")
    path = write(tmp_path / "both.gguf", {**experts, **table})
    assert why_wrong(gguf.read(path), "llama") == ""


@pytest.fixture(scope="module")
def tuned(smollm2: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `plain`, and with `tuned` and `again`, which have the adapter."""
    folder = tmp_path_factory.mktemp("tuned")
    cli = Cli(folder / "models", folder)
    cli.ok("create", "plain", "-f", "-", stdin=f"FROM {smollm2}\nPARAMETER temperature 0\n")
    cli.ok("create", "tuned", "-f", "-", stdin=f"FROM plain\nADAPTER {adapter}\n")
    cli.ok("create", "again", "-f", "-", stdin="FROM tuned\nSYSTEM Be brief.\n")
    return cli.models


@pytest.fixture(scope="module")
def server(serve: Serve, tuned: Path) -> Generator[FakeServer]:
    with serve(models=tuned, num_thread=1, slots=1, is_real=True) as running:
        yield running


def answer(server: FakeServer, model: str) -> str:
    body = {
        "model": model,
        "prompt": "The capital of France is",
        "raw": True,
        "stream": False,
        "options": {"temperature": 0, "num_predict": 12, "num_ctx": 256},
    }
    reply = server.post("/api/generate", body)
    assert reply.status_code == 200, reply.text
    return reply.json()["response"]


def test_a_created_model_answers_with_its_adapter_and_its_base_without(server: FakeServer) -> None:
    plain = answer(server, "plain")
    changed = answer(server, "tuned")
    assert "Paris" in plain
    assert changed != plain
    assert answer(server, "plain") == plain
    assert answer(server, "again") == changed
    assert server.starts == ["plain:latest", "tuned:latest"]
    assert [len(options.adapters) for options in server.options] == [0, 1]


def test_error_a_model_whose_adapter_does_not_fit_says_which(serve: Serve, smollm2: Path, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    path = write(tmp_path / "wrong.gguf", pair((4, 64), (64, 4)))
    cli.ok("create", "wrong", "-f", "-", stdin=f"FROM {smollm2}\nADAPTER {path}\n")
    with serve(models=cli.models, num_thread=1, is_real=True) as own:
        reply = own.post("/api/generate", {"model": "wrong", "prompt": "a", "stream": False})
    assert reply.status_code == 500
    said = reply.json()
    assert "adapter sha256-" in said["error"]
    assert "its tensors do not fit this model" in said["error"]
    assert "ADAPTER" in said["hint"]


def test_adapters_of_a_stored_and_of_a_planned_model(tuned: Path, adapter: Path, tmp_path: Path) -> None:
    store = Store(tuned)
    (stored,) = served(store, Name.parse("again")).adapters
    assert Path(stored.path).read_bytes() == adapter.read_bytes()
    assert stored.scale == 1
    modelfile = parse(f"FROM plain\nADAPTER {adapter}\n")
    assert planned(store, Name.parse("new"), modelfile, tmp_path).adapters == (Adapter(str(adapter)),)
    assert served(store, Name.parse("plain")).adapters == ()
