"""The page of diagnostics is complete, and its examples are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from corral.modelfile.builder import build
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.lint import lint
from corral.modelfile.parser import parse, read
from corral.modelfile.printer import print_modelfile
from corral.modelfile.rules import RULES, Diagnostic
from corral.modelfile.source import Source
from corral.store.local import Store
from corral.store.name import Name

from tests.modelfile.conftest import write_gguf
from tests.weights import BOOL, CONTROL, chat_template, gguf, pair, vocabulary

PAGE = (Path(__file__).parent.parent.parent / "docs" / "diagnostics.md").read_text()
ENTRIES = re.findall(
    r"^## (MF\d{3}): ([^\n]*)\n\n\*(\w+)\.\* .*?\n\n```modelfile bad\n(.*?)```\n\n```modelfile good\n(.*?)```\n",
    PAGE,
    re.MULTILINE | re.DOTALL,
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)


@pytest.fixture
def examples(folder: Path) -> Path:
    """The folder that the page's examples take for granted."""
    for kind, architecture in (("tiny", "llama"), ("other", "gemma3")):
        write_gguf(folder / f"{kind}-adapter.gguf", architecture, kind="adapter")
    (folder / "shadow").mkdir()
    write_gguf(folder / "shadow" / "model.gguf", "llama")
    tokens = vocabulary(dict.fromkeys(("<s>", "<|im_start|>", "<|im_end|>"), CONTROL), bos="<s>", eos="<|im_end|>")
    (folder / "plain.gguf").write_bytes(gguf(*tokens, pair("tokenizer.ggml.add_bos_token", BOOL, b"\1")))
    (folder / "chat.gguf").write_bytes(gguf(*tokens, chat_template(CHATML)))
    (folder / "tools.gguf").write_bytes(gguf(*tokens, chat_template("{% if tools %}{{ tools }}{% endif %}" + CHATML)))
    return folder


def findings(text: str, store: Store, folder: Path, *, strict: bool) -> tuple[Diagnostic, ...]:
    source = Source.decode(text.encode().replace(b"\\xFF", b"\xff"))
    modelfile = read(source, "strict" if strict else "ollama")
    return lint(modelfile, store, folder=folder, count_tokens=lambda _, text: len(text.split()))


def test_every_code_has_an_entry_that_says_what_the_table_says() -> None:
    assert [(code, title, severity.lower()) for code, title, severity, _, _ in ENTRIES] == [
        (rule.code, rule.title, rule.severity) for rule in RULES.values()
    ]


@pytest.mark.parametrize(("code", "bad"), [(entry[0], entry[3]) for entry in ENTRIES], ids=[e[0] for e in ENTRIES])
def test_the_bad_example_gives_just_this(code: str, bad: str, store: Store, examples: Path) -> None:
    if code == "MF013":
        bad += bad.splitlines(keepends=True)[-1] * 500_000
    if code == "MF042":
        with pytest.raises(ModelfileError) as caught:
            build(Name.parse("x"), parse(bad), store, folder=examples)
        found = caught.value.diagnostics
    elif code == "MF032":
        found = tuple(one for one in findings(bad, store, examples, strict=False) if one.code != "MF030")
    else:
        found = findings(bad, store, examples, strict=False)
    assert [(one.code, one.severity) for one in found] == [(code, RULES[code].severity)]


@pytest.mark.parametrize(("code", "good"), [(entry[0], entry[4]) for entry in ENTRIES], ids=[e[0] for e in ENTRIES])
def test_the_good_example_is_clean_and_canonical(code: str, good: str, store: Store, examples: Path) -> None:
    allowed = {"MF023"} if code == "MF002" else set[str]()
    assert {one.code for one in findings(good, store, examples, strict=True)} <= allowed
    assert print_modelfile(parse(good)) == good
