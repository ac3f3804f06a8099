"""Templates that do not fit their model, as `corral lint`, `lint --fix`, `lint --model` and `create` tell of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corral.store import manifest
from corral.store.local import Store
from corral.store.name import Name

from tests.conftest import Cli
from tests.weights import CONTROL, NORMAL, chat_template, gguf, vocabulary

CHATML = """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
GEMMA = """{{ range .Messages }}<start_of_turn>{{ if eq .Role "assistant" }}model{{ else }}user{{ end }}
{{ .Content }}<end_of_turn>
{{ end }}<start_of_turn>model
"""
JINJA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{{ '<start_of_turn>model\n' }}"
)
TOKENS = {"<bos>": CONTROL, "<eos>": CONTROL, "<start_of_turn>": CONTROL, "<end_of_turn>": CONTROL, "a": NORMAL}


@pytest.fixture
def here(cli: Cli) -> Cli:
    """A folder with a model of Gemma's vocabulary, once with its chat template and once without."""
    tokens = vocabulary(TOKENS, bos="<bos>", eos="<eos>", adds_bos=True, kind="llama")
    (cli.folder / "gemma.gguf").write_bytes(gguf(*tokens, chat_template(JINJA), architecture="gemma3"))
    (cli.folder / "base.gguf").write_bytes(gguf(*tokens, architecture="gemma3"))
    return cli


def write(cli: Cli, template: str, *more: str, weights: str = "gemma") -> None:
    lines = [f"FROM ./{weights}.gguf", f'TEMPLATE """{template}"""', *more]
    (cli.folder / "Modelfile").write_text("\n".join(lines) + "\n")


def found(cli: Cli, *arguments: str) -> dict[str, str]:
    """Messages by code, notes left out."""
    done = cli.run("lint", "--format", "json", *arguments)
    return {one["code"]: one["message"] for one in json.loads(done.stdout) if one["severity"] != "note"}


def test_the_right_template_passes(here: Cli) -> None:
    write(here, GEMMA, "PARAMETER stop <end_of_turn>", "PARAMETER stop User:")
    assert found(here) == {}
    write(here, GEMMA, weights="base")
    assert found(here) == {}


@pytest.mark.parametrize("weights", ["gemma", "base"])
def test_chatml_on_gemmas_vocabulary(here: Cli, weights: str) -> None:
    write(here, CHATML, "PARAMETER stop <|im_end|>", weights=weights)
    said = found(here)
    assert "<|im_start|>, <|im_end|>, which this model has no token for" in said["MF052"]
    assert said["MF053"].startswith("stop <|im_end|> is no token of this model")
    assert ("MF050" in said) is (weights == "gemma")


@pytest.mark.parametrize("weights", ["gemma", "base"])
def test_a_doubled_beginning(here: Cli, weights: str) -> None:
    write(here, "<bos>" + GEMMA, weights=weights)
    assert found(here) == {"MF054": "doubled beginning: TEMPLATE begins with <bos>, and the tokenizer adds one"}


def test_prompts_stand_side_by_side(here: Cli) -> None:
    write(here, GEMMA.replace("model{{ else }}", "assistant{{ else }}"))
    done = here.run("lint")
    assert "wrong role name: 'assistant' where the model's own template has 'model' [MF050]" in done.stdout
    rows = [line for line in done.stdout.splitlines() if " | " in line]
    assert any("<start_of_turn>assistant" in row and "<start_of_turn>model" in row for row in rows)
    assert here.run("lint", "--strict").returncode == 1


def test_fix_writes_a_template_that_agrees_and_stops_that_the_model_writes(here: Cli) -> None:
    write(here, CHATML, "# kept", "PARAMETER stop <|im_end|>", "PARAMETER stop User:", "SYSTEM kept too")
    done = here.run("lint", "--fix")
    assert done.stderr == "Modelfile: fixed\n"
    assert found(here) == {}
    text = (here.folder / "Modelfile").read_text()
    assert "im_end" not in text
    assert "\n# kept\nPARAMETER stop <end_of_turn>\nPARAMETER stop User:\nSYSTEM kept too\n" in text
    assert here.run("lint", "--fix").stderr == ""
    assert (here.folder / "Modelfile").read_text() == text
    printed = here.run("lint", "--fix", "-", stdin=text.replace("<start_of_turn>", "<|im_start|>"))
    assert printed.stdout.startswith(text)


def test_create_warns_and_a_stored_model_is_checked_and_fixed(here: Cli) -> None:
    write(here, CHATML, "PARAMETER stop <|im_end|>")
    created = here.run("create", "wrong")
    assert created.returncode == 0
    assert "[MF050]" in created.stderr
    assert set(found(here, "--model", "wrong")) == {"MF050", "MF052", "MF053"}
    assert here.run("lint", "--model", "wrong", "--fix").stderr == "wrong:latest: fixed\n"
    assert found(here, "--model", "wrong") == {}
    assert "<end_of_turn>" in here.ok("show", "wrong", "--template")
    assert json.loads(here.ok("show", "wrong", "--json"))["parameters"].split(None, 1) == ["stop", '"<end_of_turn>"']


def test_a_stored_model_keeps_all_else_when_it_is_fixed(here: Cli) -> None:
    """Also what the Modelfile language cannot express."""
    write(here, CHATML, "PARAMETER stop <|im_end|>", "PARAMETER stop User:", "PARAMETER seed 7", "LICENSE free")
    here.ok("create", "odd")
    model = Store(here.models).find(Name.parse("odd"))
    system = Store(here.models).blobs.put(b"no\xe2\x80\x8bbreak\x00", manifest.SYSTEM).blob
    extra = Store(here.models).blobs.put(b"whatever", "application/vnd.example.extra").blob
    changed = manifest.Manifest.build(model.manifest.config, [*model.manifest.layers, system, extra])
    Store(here.models).tag(Name.parse("odd"), changed)
    assert here.run("lint", "--model", "odd", "--fix").stderr == "odd:latest: fixed\n"
    kept = Store(here.models).find(Name.parse("odd")).manifest
    assert {system, extra} < set(kept.layers)
    assert kept.of_type(manifest.LICENSE) == model.manifest.of_type(manifest.LICENSE)
    shown = here.ok("show", "odd", "--parameters").split()
    assert shown == ["seed", "7", "stop", '"User:"', "stop", '"<end_of_turn>"']
    assert found(here, "--model", "odd") == {}


def test_fix_leaves_a_file_alone_that_it_cannot_read_whole(here: Cli) -> None:
    write(here, CHATML)
    path = here.folder / "Modelfile"
    path.write_bytes(path.read_bytes() + b"SYSTEM caf\xe9\n")
    before = path.read_bytes()
    assert "fixed" not in here.run("lint", "--fix").stderr
    assert path.read_bytes() == before


def test_fix_takes_whole_lines_of_a_file_from_windows(here: Cli) -> None:
    write(here, GEMMA, "PARAMETER stop <|im_end|>", "PARAMETER stop <|im_start|>", "SYSTEM x")
    path = here.folder / "Modelfile"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert here.run("lint", "--fix").stderr == "Modelfile: fixed\n"
    assert path.read_bytes().endswith(b"\r\nPARAMETER stop <end_of_turn>\r\nSYSTEM x\r\n")


def test_an_inherited_template_is_checked_where_it_comes_from(here: Cli) -> None:
    write(here, CHATML)
    here.ok("create", "parent")
    done = here.run("lint", "--format", "json", "-", stdin="FROM parent\n")
    assert {(one["code"], one["startLine"]) for one in json.loads(done.stdout)} == {("MF050", 1), ("MF052", 1)}
    fixed = here.run("lint", "--fix", "-", stdin="FROM parent\nSYSTEM s\n").stdout
    assert fixed.startswith('FROM parent\nTEMPLATE """')


def test_without_template_it_says_what_is_used(here: Cli, smollm2: Path) -> None:
    for lines, said in (
        ("FROM ./gemma.gguf", "the GGUF's chat template is used, which is that of gemma-instruct"),
        ("FROM ./base.gguf", "chats are written in ChatML"),
        (f"FROM {smollm2}", "which is that of chatml"),
    ):
        assert said in here.run("lint", "-", stdin=lines).stdout


def test_a_template_known_by_name_is_added_as_ollama_does(here: Cli, smollm2: Path) -> None:
    done = here.run("create", "smol", "-f", "-", stdin=f"FROM {smollm2}\nPARAMETER seed 1\n")
    assert "using autodetected template chatml" in done.stderr.splitlines()
    digests = {layer["mediaType"]: layer["digest"] for layer in json.loads(here.ok("show", "smol", "--json"))["layers"]}
    assert "application/vnd.ollama.image.template" in digests
    assert [line.split() for line in here.ok("show", "smol", "--parameters").splitlines()] == [
        ["seed", "1"],
        ["stop", '"<|im_start|>"'],
        ["stop", '"<|im_end|>"'],
    ]
    own = here.run("create", "own", "-f", "-", stdin=f"FROM {smollm2}\nTEMPLATE x{{{{ .Prompt }}}}\n")
    assert "autodetected" not in own.stderr
    assert here.ok("show", "own", "--template") == "x{{ .Prompt }}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--model", "nope"), "not found"), (("--model", "x", "Modelfile"), "not both")],
)
def test_wrong_calls(here: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = here.run("lint", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
