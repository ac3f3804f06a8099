"""`corral diff`: each part in which two models differ is shown, and nothing else."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.weights import ARRAY, CONTROL, FLOAT, INT, UINT, gguf, pair, string, text_pair, vocabulary

BASE = "FROM ./one.gguf\nSYSTEM Be kind.\nPARAMETER temperature 0.5\nPARAMETER stop <a>\nTEMPLATE {{ .Prompt }}\n"


def array(key: str, kind: int, *items: int) -> bytes:
    code = {INT: "i", UINT: "I"}[kind]
    return pair(key, ARRAY, struct.pack(f"<IQ{len(items)}{code}", kind, len(items), *items))


@pytest.fixture
def here(cli: Cli) -> Cli:
    """A folder with weights, and the model `a` of the first of them."""
    tokens = vocabulary({f"t{n}": CONTROL for n in range(100)})
    others = vocabulary({f"t{n}": CONTROL for n in range(99)} | {"u": CONTROL})
    (cli.folder / "one.gguf").write_bytes(gguf(*tokens, text_pair("general.name", "One"), array("x.list", INT, 1, 2)))
    (cli.folder / "two.gguf").write_bytes(
        gguf(*others, pair("x.scale", FLOAT, struct.pack("<f", float("nan"))), array("x.list", INT, 1, 3), context=512)
    )
    raw = (cli.folder / "one.gguf").read_bytes()
    renamed = raw.replace(string("token_embd.weight"), string("token_embd.widths"))
    (cli.folder / "renamed.gguf").write_bytes(renamed)
    shape = struct.pack("<IQI", 1, 8, 0)
    half = raw.replace(string("token_embd.weight") + shape, string("token_embd.weight") + struct.pack("<IQI", 1, 4, 1))
    (cli.folder / "half.gguf").write_bytes(half)
    cli.ok("create", "a", "-f", "-", stdin=BASE)
    return cli


def compared(cli: Cli, text: str) -> dict[str, Any]:
    cli.ok("create", "b", "-f", "-", stdin=text)
    done = cli.run("diff", "a", "b", "--json")
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)


def parts(found: dict[str, Any]) -> set[str]:
    """Which parts differ besides the layers."""
    names = {name for name in ("config", "parameters", "weights") if found[name]}
    return names | set(found["texts"])


def test_equal_models(here: Cli) -> None:
    here.ok("cp", "a", "b")
    assert here.ok("diff", "a", "b") == here.ok("diff", "a", "a") == ""
    said = json.loads(here.ok("diff", "a", "b", "--json"))
    assert said["equal"] is True
    assert said["a"]["digest"] == said["b"]["digest"]
    assert (said["layers"], parts(said)) == ([], set())


TEXTS = {
    "system": (BASE.replace("Be kind.", "Be brief."), {"system"}, ["system"]),
    "no system": (BASE.replace("SYSTEM Be kind.\n", ""), {"system"}, ["system"]),
    "template": (BASE.replace("{{ .Prompt }}", "{{ .System }} {{ .Prompt }}"), {"template"}, ["template"]),
    "messages": (BASE + "MESSAGE user hi\nMESSAGE assistant ho\n", {"messages"}, ["messages"]),
    "license": (BASE + "LICENSE MIT\nLICENSE Other\n", {"license"}, ["license"]),
    "a parameter": (BASE.replace("0.5", "0.7"), {"parameters"}, ["params"]),
    "requires": (BASE + "REQUIRES 0.14.0\n", {"config"}, ["config"]),
    "several": (
        BASE.replace("kind", "brief").replace("<a>", "<b>") + "LICENSE MIT\n",
        {"system", "parameters", "license"},
        ["license", "params", "system"],
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_the_parts_that_differ(here: Cli, case: str) -> None:
    text, differing, layers = TEXTS[case]
    found = compared(here, text)
    assert found["equal"] is False
    assert parts(found) == differing
    assert sorted(change["key"] for change in found["layers"]) == layers


def test_layers_and_parameters_have_both_sides(here: Cli) -> None:
    found = compared(here, BASE.replace("0.5", "1") + "PARAMETER stop <b>\nPARAMETER seed 1\n")
    assert found["parameters"] == [
        {"key": "stop", "a": ["<a>"], "b": ["<a>", "<b>"]},
        {"key": "temperature", "a": 0.5, "b": 1},
        {"key": "seed", "a": None, "b": 1},
    ]
    (layer,) = found["layers"]
    for side, model in (("a", "a"), ("b", "b")):
        shown = json.loads(here.ok("show", model, "--json"))
        (params,) = [one for one in shown["layers"] if one["mediaType"].endswith(".params")]
        assert layer[side] == [{"digest": params["digest"], "size": params["size"]}]
        assert found[side] == {"name": f"{model}:latest", "digest": shown["digest"]}


def test_texts_are_unified_diffs(here: Cli) -> None:
    license_text = "\n".join(f"line {n}" for n in range(20))
    here.ok("create", "a", "-f", "-", stdin=BASE + f'LICENSE """{license_text}"""\n')
    found = compared(here, BASE + f'LICENSE """{license_text.replace("line 9", "line nine")}"""\n')
    lines = found["texts"]["license"].splitlines()
    assert lines[:3] == ["--- a:latest", "+++ b:latest", "@@ -7,7 +7,7 @@"]
    assert [line for line in lines[3:] if line[0] != " "] == ["-line 9", "+line nine"]


def test_metadata_of_the_weights(here: Cli) -> None:
    found = compared(here, BASE.replace("one.gguf", "two.gguf"))
    assert [change["key"] for change in found["layers"]] == ["model"]
    (weights,) = found["weights"]
    assert (weights["role"], weights["tensors"]) == ("model", [])
    changes = {change["key"]: (change["a"], change["b"]) for change in weights["metadata"]}
    tokens = changes.pop("tokenizer.ggml.tokens")
    assert changes == {
        "general.name": ("One", None),
        "llama.context_length": (256, 512),
        "x.list": ([1, 2], [1, 3]),
        "x.scale": (None, "nan"),
    }
    assert [side["count"] for side in tokens] == [100, 100]
    assert len({side["sha256"] for side in tokens}) == 2


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (
            "renamed",
            {
                "token_embd.weight": ({"type": "F32", "shape": [8]}, None),
                "token_embd.widths": (None, {"type": "F32", "shape": [8]}),
            },
        ),
        ("half", {"token_embd.weight": ({"type": "F32", "shape": [8]}, {"type": "F16", "shape": [4]})}),
    ],
)
def test_tensors_of_the_weights(here: Cli, file: str, changes: dict[str, Any]) -> None:
    (weights,) = compared(here, BASE.replace("one.gguf", f"{file}.gguf"))["weights"]
    assert weights["metadata"] == []
    assert {change["key"]: (change["a"], change["b"]) for change in weights["tensors"]} == changes


def test_weights_that_differ_in_their_numbers_only(here: Cli) -> None:
    raw = bytearray((here.folder / "one.gguf").read_bytes())
    raw[-1] ^= 1
    (here.folder / "numbers.gguf").write_bytes(raw)
    found = compared(here, BASE.replace("one.gguf", "numbers.gguf"))
    assert [change["key"] for change in found["layers"]] == ["model"]
    assert parts(found) == set()


def test_manifests_that_differ_in_their_bytes_only(here: Cli) -> None:
    here.ok("cp", "a", "b")
    path = here.models / "manifests/registry.ollama.ai/library/b/latest"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    done = here.run("diff", "a", "b")
    assert done.returncode == 1
    assert done.stdout.splitlines()[2:] == ["the same layers: only the manifests' own bytes differ"]


def test_as_text(here: Cli) -> None:
    compared(here, BASE.replace("kind.", "brief.").replace("0.5", "0.7").replace("one.gguf", "two.gguf"))
    lines = here.run("diff", "a", "b").stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["---", "a:latest"], ["+++", "b:latest"]]
    sections = [line for line in lines if line[0] not in "+-@ "]
    assert sections == ["layers", "parameters", "system", "metadata of the model"]
    text = "\n".join(lines)
    assert "\nparameters\n-temperature 0.5\n+temperature 0.7\n" in text
    assert "\nsystem\n@@ -1 +1 @@\n-Be kind.\n+Be brief.\n" in text
    assert "\n-llama.context_length 256\n+llama.context_length 512\n" in text
    assert "\n-tokenizer.ggml.tokens 100 items, sha256:" in text
    assert "\n-x.list [1, 2]\n+x.list [1, 3]\n" in text


def test_errors(here: Cli, tiny_gguf: Path) -> None:
    assert "model 'none:latest' not found" in here.error(1, "diff", "a", "none")
    here.ok("create", "b", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be brief.\n")
    (here.models / "manifests/registry.ollama.ai/library/a/latest").write_text("{")
    assert "a:latest: invalid manifest" in here.error(3, "diff", "a", "b")
    digest = json.loads(here.ok("show", "b", "--json"))["layers"][0]["digest"]
    here.ok("create", "a", "-f", "-", stdin=BASE)
    (here.models / "blobs" / digest.replace(":", "-")).unlink()
    assert f"blob {digest}: not in the store" in here.error(3, "diff", "a", "b")
