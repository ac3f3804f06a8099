"""A text with a gap, for models that have special tokens for it and no template that knows of one."""

from __future__ import annotations

import struct

import pytest

from tests.conftest import Cli
from tests.runtime.conftest import Serve
from tests.runtime.weights import create
from tests.weights import UINT, pair

NEW, OLD = ("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle")
GAP = {"prompt": "def add(", "suffix": "return a + b", "_debug_render_only": True, "stream": False}


def tokens(*names: str) -> list[bytes]:
    """The pairs that name such tokens."""
    return [pair(f"tokenizer.ggml.{name}_token_id", UINT, struct.pack("<I", 1)) for name in names]


@pytest.mark.parametrize("names", [NEW, OLD])
def test_the_models_own_tokens_stand_around_the_gap(cli: Cli, serve: Serve, names: tuple[str, ...]) -> None:
    model = create(cli, "coder", *tokens(*names))
    assert "insert" in model.capabilities
    with serve(models=cli.models) as server:
        reply = server.post("/api/generate", {"model": "coder", **GAP})
        assert reply.json()["_debug_info"]["rendered_template"] == "<pre>def add(<suf>return a + b<mid>"


def test_a_template_that_knows_of_gaps_wins(cli: Cli, serve: Serve) -> None:
    create(cli, "coder", *tokens(*NEW), modelfile="TEMPLATE {{ .Prompt }}[{{ .Suffix }}]")
    with serve(models=cli.models) as server:
        reply = server.post("/api/generate", {"model": "coder", **GAP})
        assert reply.json()["_debug_info"]["rendered_template"] == "def add([return a + b]"


@pytest.mark.parametrize("names", [(), NEW[:2], (*NEW[:2], OLD[2])])
def test_error_a_model_without_them_is_refused(cli: Cli, serve: Serve, names: tuple[str, ...]) -> None:
    model = create(cli, "writer", *tokens(*names))
    assert "insert" not in model.capabilities
    with serve(models=cli.models) as server:
        reply = server.post("/api/generate", {"model": "writer", **GAP})
        assert reply.status_code == 400
        assert "does not support insert" in reply.json()["error"]
