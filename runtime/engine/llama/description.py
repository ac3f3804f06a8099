"""Describe: what the server needs to know of a loaded model, whatever it gives."""

from __future__ import annotations

from typing import Any

from ..protocol import Loaded
from .library import allocated, llama
from .vocabulary import LlamaVocabulary


def describe(model: Any, vocabulary: LlamaVocabulary, num_ctx: int) -> Loaded:
    """See the module; to be called when everything is allocated."""
    memory, vram, mapped = allocated()
    return Loaded(
        num_ctx=num_ctx,
        train_ctx=llama.llama_model_n_ctx_train(model),
        bos=vocabulary.bos,
        eos=vocabulary.eos,
        memory=memory,
        vram=vram,
        mapped=mapped,
        embedding_length=llama.llama_model_n_embd_out(model),
        infill=vocabulary.infill,
    )
