"""LlamaEmbedder: each way to make one vector of a text, with a cache and without."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from corral.runtime.engine.llama.embedder import LlamaEmbedder
from corral.runtime.engine.llama.library import LoadError
from corral.runtime.engine.protocol import Adapter, LoadOptions
from corral.store import gguf
from gguf import PoolingType

from tests.runtime.engine.lora import random_tensors, write
from tests.runtime.engine.minilm import MiniLM, installed, scaled
from tests.weights import UINT, pair

OPTIONS = LoadOptions(num_ctx=128, slots=8, num_batch=64, num_thread=1, embeds=True)
TEXTS = ["The quick brown fox jumps over the lazy dog.", "a", "", "It rains cats and dogs in Spain."]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return installed()


@pytest.fixture(scope="module")
def causal(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2, said to be an embedding model that makes a vector of the last token."""
    header = gguf.read(smollm2)
    raw = smollm2.read_bytes()
    end_of_pairs = max(end for _, end in header.pairs.values())
    more = pair("llama.pooling_type", UINT, struct.pack("<I", PoolingType.LAST))
    descriptions = raw[end_of_pairs : end_of_pairs + _described(header)]
    begin = raw[:16] + struct.pack("<Q", len(header.pairs) + 1) + raw[24:end_of_pairs] + more + descriptions
    path = tmp_path_factory.mktemp("causal") / "causal.gguf"
    path.write_bytes(begin + bytes(-len(begin) % header.alignment) + raw[header.data_start :])
    return path


def _described(header: gguf.GGUF) -> int:
    """Bytes of the descriptions of all tensors."""
    return sum(8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 4 + 8 for tensor in header.tensors)


def loaded(path: Path, **more: Any) -> LlamaEmbedder:
    options = LoadOptions(**{name: getattr(OPTIONS, name) for name in OPTIONS.__struct_fields__} | more)
    return LlamaEmbedder(str(path), options, lambda _: None)


def vectors(embedder: LlamaEmbedder, *texts: str) -> npt.NDArray[Any]:
    """In one batch."""
    return np.array([scaled(vector) for vector in embedder.embed([embedder.tokenize(text) for text in texts])])


@pytest.mark.parametrize(("pooling", "row"), [(PoolingType.CLS, 0), (PoolingType.LAST, -1)])
def test_a_vector_may_be_that_of_one_token(minilm: MiniLM, tmp_path: Path, pooling: PoolingType, row: int) -> None:
    embedder = loaded(minilm.convert(tmp_path / "model.gguf", halved=False, pooling=pooling))
    expected = np.array([scaled(minilm.rows(minilm.tokenize(text))[row]) for text in TEXTS])
    assert np.abs(vectors(embedder, *TEXTS) - expected).max() <= 1e-3
    assert embedder.describe().embedding_length == 384
    assert embedder.ending == 1


def test_error_a_model_that_pools_nothing(minilm: MiniLM, tmp_path: Path, smollm2: Path) -> None:
    for path in (minilm.convert(tmp_path / "none.gguf", halved=True, pooling=PoolingType.NONE), smollm2):
        with pytest.raises(LoadError, match=r"gives no embeddings: it pools no vectors \(pooling type none\)"):
            loaded(path)


def test_no_text_has_more_tokens_than_the_model_has_positions(minilm: MiniLM, tmp_path: Path) -> None:
    embedder = loaded(minilm.convert(tmp_path / "model.gguf", halved=True), num_ctx=4096)
    assert embedder.num_ctx == embedder.describe().num_ctx == 512
    assert len(embedder.embed([[101] * 512])) == 1


def test_a_causal_model_forgets_each_batch(causal: Path) -> None:
    embedder = loaded(causal)
    alone = [vectors(embedder, text)[0] for text in TEXTS]
    together = vectors(embedder, *TEXTS)
    again = vectors(embedder, TEXTS[0])[0]
    assert np.array_equal(again, alone[0])
    assert (together * np.array(alone)).sum(axis=1).min() > 1 - 1e-3
    assert together[0] @ together[3] < 0.999
    # Nothing stands before the first token, which all texts that begin alike share.
    many = [vectors(embedder, "a " * 60)[0] for _ in range(5)]
    assert all(np.array_equal(many[0], other) for other in many)


def test_an_adapter_changes_embeddings_too(causal: Path, tmp_path: Path) -> None:
    adapter = write(tmp_path / "lora.gguf", random_tensors())
    plain, changed = (
        vectors(loaded(causal, adapters=adapters), TEXTS[0])[0] for adapters in ((), (Adapter(str(adapter)),))
    )
    assert np.abs(plain - changed).max() > 1e-3
