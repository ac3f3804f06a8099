"""What listings and /api/show say of stored models, also of strange and broken ones."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.catalog import listing, show_reply
from corral.runtime.served import served
from corral.store.errors import BlobNotFoundError, IntegrityError, ModelNotFoundError

from corral import Name, Store
from tests.conftest import Cli
from tests.runtime.weights import create
from tests.weights import ARRAY, FLOAT, UINT, chat_template, pair, text_pair

JINJA_TOOLS = "{% if tools %}{% endif %}"
GO_TOOLS = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"
VISION = [
    pair("llama.vision.block_count", UINT, struct.pack("<I", 1)),
    pair("llama.block_count", UINT, struct.pack("<I", 1)),
]


def entries(store: Store) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in (model.entry for model in listing(store).models())}


def test_a_number_json_has_no_word_for_is_null(cli: Cli) -> None:
    nan, inf = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
    floats = struct.pack("<IQ", FLOAT, 3) + nan + struct.pack("<f", 0.5) + inf
    odd = [pair("odd.nan", FLOAT, nan), pair("odd.inf", FLOAT, inf), pair("odd.list", ARRAY, floats)]
    model = create(cli, "odd", *odd)
    reply = show_reply(Store(cli.models), model, verbose=True)
    json.dumps(reply, allow_nan=False)
    info = reply["model_info"]
    assert (info["odd.nan"], info["odd.inf"], info["odd.list"]) == (None, None, [None, 0.5, None])
    assert show_reply(Store(cli.models), model)["model_info"]["odd.list"] is None


def test_the_trained_context_is_the_first_context_length(cli: Cli) -> None:
    info = show_reply(Store(cli.models), create(cli, "plain"))["model_info"]
    found = [key for key in info if "context_length" in key]
    assert found == ["llama.context_length", "llama.rope.scaling.original_context_length"]
    assert "general.name" not in info


@pytest.mark.parametrize(
    ("pairs", "modelfile", "expected"),
    [
        ([], "", ["completion"]),
        ([], 'TEMPLATE """{{ .Prompt }}{{ .Suffix }}"""', ["completion", "insert"]),
        ([], 'TEMPLATE """{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"""', ["completion", "tools"]),
        ([chat_template(JINJA_TOOLS)], "", ["completion", "tools"]),
        ([chat_template(JINJA_TOOLS)], "TEMPLATE {{ .Prompt }}", ["completion", "tools"]),
        ([chat_template(JINJA_TOOLS)], "TEMPLATE {{ .Prompt }}{{ .Suffix }}", ["completion", "tools", "insert"]),
        ([chat_template("{{ 'tools' }}<think>")], f"TEMPLATE {GO_TOOLS}", ["completion", "tools"]),
        ([chat_template("{% for %}{{ tools }}")], "", ["completion"]),
        ([], "TEMPLATE {{ range .Messages }}{{ .Thinking }}{{ end }}", ["completion", "thinking"]),
        ([], "RENDERER cogito", ["completion"]),
        (
            [chat_template(JINJA_TOOLS)],
            "RENDERER cogito\nTEMPLATE {{ .Thinking }}{{ .Tools }}",
            ["completion", "tools"],
        ),
        ([chat_template(JINJA_TOOLS)], "RENDERER nobody_knows", ["completion", "tools"]),
        ([pair("llama.pooling_type", UINT, struct.pack("<I", 1))], "", ["embedding"]),
        (VISION, "TEMPLATE {{ .Prompt }}{{ .Suffix }}{{ .Think }}", ["completion", "vision", "insert", "thinking"]),
    ],
)
def test_capabilities_follow_from_the_weights_and_the_template(
    cli: Cli, pairs: list[bytes], modelfile: str, expected: list[str]
) -> None:
    assert create(cli, "model", *pairs, modelfile=modelfile).capabilities == expected


def test_with_a_projector_a_model_sees(cli: Cli) -> None:
    model = create(cli, "seeing", modelfile="TEMPLATE {{ .Prompt }}{{ .Tools }}{{ .Think }}", with_projector=True)
    assert model.capabilities == ["completion", "tools", "vision", "thinking"]
    assert entries(Store(cli.models))["seeing:latest"]["capabilities"] == model.capabilities
    assert show_reply(Store(cli.models), model)["capabilities"] == model.capabilities


def test_the_shown_template_is_the_one_in_use(cli: Cli) -> None:
    def shown(name: str, jinja: str, modelfile: str = "") -> str:
        pairs = [chat_template(jinja)] if jinja else []
        return show_reply(Store(cli.models), create(cli, name, *pairs, modelfile=modelfile))["template"]

    assert shown("a", "{{ messages }}") == "{{ messages }}"
    assert shown("b", "{{ messages }}", "TEMPLATE {{ .Prompt }}!") == "{{ .Prompt }}!"
    assert shown("c", "") == "{{ .Prompt }}"
    assert shown("d", JINJA_TOOLS, "TEMPLATE {{ .Prompt }}") == JINJA_TOOLS
    assert shown("e", "{{ messages }}", "RENDERER cogito\nTEMPLATE {{ .Prompt }}") == "{{ messages }}"
    assert shown("f", "", "RENDERER nobody_knows\nTEMPLATE {{ .Prompt }}") == "{{ .Prompt }}"


def test_parameters_are_a_line_each_that_can_be_read_again(cli: Cli) -> None:
    modelfile = 'PARAMETER stop "a b"\nPARAMETER stop \'é"<\nPARAMETER temperature 0.5\nPARAMETER num_ctx 64\n'
    text = show_reply(Store(cli.models), create(cli, "model", modelfile=modelfile))["parameters"]
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert [(name, json.loads(value)) for name, value in lines] == [
        ("num_ctx", 64),
        ("stop", "a b"),
        ("stop", "'é\"<"),
        ("temperature", 0.5),
    ]
    assert all(line.index(value) == 31 for line, (_, value) in zip(text.splitlines(), lines, strict=True))


def test_a_copy_differs_by_name_and_time_alone(cli: Cli) -> None:
    create(cli, "first", modelfile="SYSTEM Be brief.")
    store = Store(cli.models)
    alone = entries(store)["first:latest"]
    time.sleep(0.01)
    store.copy(Name.parse("first"), Name.parse("x/second:small"))
    both = entries(store)
    copied = both["x/second:small"]
    assert both["first:latest"] == alone
    assert list(copied) == list(alone)
    assert copied["modified_at"] > alone["modified_at"]
    own = {key: copied[key] for key in ("name", "model", "modified_at")}
    assert copied == alone | own
    assert own["model"] == "x/second:small"


def test_error_what_is_damaged_is_not_listed_and_says_why(cli: Cli) -> None:
    create(cli, "good")
    create(cli, "lost", text_pair("general.name", "lost"))
    create(cli, "torn", text_pair("general.name", "torn"))
    store = Store(cli.models)
    listed = listing(store)
    assert {model.entry["name"] for model in listed.models()} == {"good:latest", "lost:latest", "torn:latest"}
    served(store, Name.parse("lost")).weights.unlink()
    torn = served(store, Name.parse("torn")).weights
    torn.chmod(0o644)
    torn.write_bytes(b"GGUF torn")
    (cli.models / "manifests/registry.ollama.ai/library/junk").mkdir()
    Path(cli.models, "manifests/registry.ollama.ai/library/junk/latest").write_text("junk")
    assert {model.entry["name"] for model in listed.models()} == {"good:latest"}
    with pytest.raises(BlobNotFoundError, match="not in the store"):
        served(store, Name.parse("lost"))
    for name in ("torn", "junk"):
        with pytest.raises(IntegrityError):
            served(store, Name.parse(name))
    with pytest.raises(ModelNotFoundError, match="model 'nope:latest' not found"):
        served(store, Name.parse("nope"))
