"""`corral render`: the exact prompt, from a model, a Modelfile or a template, as text or as tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli

CHAT = [{"role": "user", "content": "Où?"}]
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}
TEMPLATE = (
    "{{ if .System }}<s>{{ .System }}</s>{{ end }}{{ range .Tools }}<t>{{ .Function.Name }}</t>{{ end }}"
    "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}"
    "{{ if .IsThinkSet }}<think {{ .Think }} {{ .ThinkLevel }}>{{ end }}"
)


@pytest.fixture
def here(cli: Cli, tiny_gguf: Path) -> Cli:
    (cli.folder / "tiny.gguf").write_bytes(tiny_gguf.read_bytes())
    (cli.folder / "chat.json").write_text(json.dumps(CHAT))
    (cli.folder / "tools.json").write_text(json.dumps([TOOL]))
    (cli.folder / "template.txt").write_text(TEMPLATE)
    (cli.folder / "Modelfile").write_text(
        'FROM ./tiny.gguf\nTEMPLATE """[{{ .System }}]{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"""\n'
        "SYSTEM Be brief.\nMESSAGE user 1+1?\nMESSAGE assistant 2\n"
    )
    return cli


def test_a_model_and_its_modelfile_give_the_same_prompt(here: Cli) -> None:
    prompt = "[Be brief.]system: Be brief.\nuser: 1+1?\nassistant: 2\nuser: Où?\n"
    assert here.ok("render", "-f", "Modelfile", "--messages", "chat.json") == prompt
    assert not here.files()
    here.ok("create", "brief")
    assert here.ok("render", "brief", "--messages", "chat.json") == prompt
    assert here.ok("render", "brief", "--messages", "-", stdin=json.dumps({"model": "x", "messages": CHAT})) == prompt


def test_a_template_alone(here: Cli) -> None:
    run = ("render", "--template", "template.txt", "--messages", "chat.json")
    assert here.ok(*run) == "<user>Où?"
    assert here.ok(*run, "--tools", "tools.json", "--think", "high") == "<t>add</t><user>Où?<think true high>"
    assert here.ok(*run, "--think", "false") == "<user>Où?<think false >"
    request = json.dumps({"messages": CHAT, "tools": [TOOL], "think": "low"})
    assert here.ok(*run[:3], "--messages", "-", stdin=request) == "<t>add</t><user>Où?<think true low>"


def test_a_jinja_template_goes_by_its_name(here: Cli) -> None:
    (here.folder / "own.jinja").write_text("{% for m in messages %}({{ m.role }}){% endfor %}{{ tools | length }}")
    run = ("render", "--template", "own.jinja", "--messages", "chat.json", "--tools", "tools.json")
    assert here.ok(*run) == "(user)1"


def test_a_template_replaces_the_models(here: Cli) -> None:
    here.ok("create", "brief")
    printed = here.ok("render", "brief", "--template", "template.txt", "--messages", "chat.json")
    assert printed.startswith("<s>Be brief.</s><system>Be brief.<user>1+1?")


def test_tokens_of_a_real_model_spell_the_prompt(here: Cli, smollm2: Path) -> None:
    (here.folder / "real").write_text(f"FROM {smollm2}\n")
    run = ("render", "-f", "real", "--messages", "chat.json")
    rows = [line.split(None, 1) for line in here.ok(*run, "--tokens").splitlines()]
    assert "".join(json.loads(piece) for _, piece in rows) == here.ok(*run)
    assert rows[0] == ["1", '"<|im_start|>"']


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a model"),
        (("m", "-f", "Modelfile"), "name a model"),
        (("nope",), "not found"),
        (("-f", "nope"), "no such Modelfile"),
        (("--template", "nope"), "nope: cannot read"),
        (("--template", "template.txt", "--tokens"), "--tokens needs a model"),
        (("--template", "template.txt", "--think", "much"), "invalid think value"),
        (("--template", "template.txt", "--tools", "template.txt"), "template.txt: not JSON"),
        (("-f", "Modelfile", "--tools", "tools.json"), "does not support tools"),
    ],
)
def test_what_is_wrong_is_said(here: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = here.run("render", *arguments, "--messages", "chat.json")
    assert done.returncode in (1, 5)
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("messages", ["{", "[]", "3", "{}", '[{"role": 5}]', '["hi"]'])
def test_messages_must_be_messages(here: Cli, messages: str) -> None:
    done = here.run("render", "--template", "template.txt", "--messages", "-", stdin=messages)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Error: ") == 1
