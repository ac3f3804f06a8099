"""Drift: where TEMPLATE and the model's own chat template differ, and why."""

from __future__ import annotations

import pytest
from corral.modelfile.template.beside import side_by_side
from corral.modelfile.template.cases import CASES
from corral.modelfile.template.drift import OwnTemplate
from corral.modelfile.template.errors import TemplateError
from corral.store.vocabulary import Vocabulary

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
GO = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
LEGACY = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
KNOWN = Vocabulary(
    frozenset({"<s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"}),
    frozenset({"<|im_end|>", "<|endoftext|>"}),
    "<s>",
    "<|im_end|>",
    adds_bos=True,
)
OWN = OwnTemplate(CHATML, KNOWN)


def causes(text: str, own: OwnTemplate = OWN) -> list[str]:
    """Of what is no edge case."""
    return [one.cause for one in own.differences(text) if not one.is_edge]


@pytest.mark.parametrize("text", [GO, "<s>" + GO, LEGACY])
def test_the_right_ones_pass(text: str) -> None:
    assert causes(text) == []
    assert OWN.agrees(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (GO.replace("<|im_end|>", "<|endoftext|>"), "wrong end of turn: <|endoftext|> where"),
        (GO.replace("<|im_end|>", ""), "wrong end of turn: <|im_end|> is missing"),
        (GO.replace("<|im_end|>", "<end_of_turn>"), "it writes <end_of_turn>, which this model has no token for"),
        (GO.replace("assistant\n", "assistant"), "trailing space: it lacks '\\n'"),
        (GO + " ", "other blanks: '\\n ' where the model's own template has '\\n'"),
        (GO.replace("{{ end }}<|im_start|>assistant\n", "{{ end }}"), "it ends where the model's own template goes on"),
        (GO.replace("{{ end }}<|im_start|>assistant", "{{ end }}<|im_start|>model"), "wrong role name: 'model'"),
        (
            GO.replace("{{ .Role }}", "{{ if eq .Role `user` }}human{{ else }}{{ .Role }}{{ end }}"),
            "wrong role name: 'human'",
        ),
        (
            "{{ range .Messages }}{{ if ne .Role `system` }}" + GO[21:].replace("{{ end }}", "{{ end }}{{ end }}"),
            "the system message is dropped",
        ),
        ("{{ .System }}" + GO, "the system message is written twice"),
        (LEGACY.replace("{{ .Prompt }}", ""), "what the user says is dropped"),
        ("{{ .Prompt }}{{ slice .Nope 1 }}" + GO, "it fails: "),
        (GO.replace("<|im_start|>", "<|im_end|>"), "wrong"),
    ],
)
def test_the_cause_is_told(text: str, cause: str) -> None:
    found = causes(text)
    assert found
    assert found[0].startswith(cause)


def test_a_missing_beginning_is_told() -> None:
    known = Vocabulary(KNOWN.special, KNOWN.ends, "<s>", "<|im_end|>", adds_bos=False)
    own = OwnTemplate("{{ bos_token }}" + CHATML, known)
    assert causes(GO, own)[0] == "the beginning, <s>, is missing, and this model's tokenizer does not add it"
    assert causes("<s>" + GO, own) == []
    assert causes("<s>" + GO, OwnTemplate(CHATML, known))[0] == "it begins with <s>"


def test_a_default_system_message_is_no_mistake() -> None:
    default = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    own = OwnTemplate(default + CHATML, KNOWN)
    found = own.differences(GO)
    assert {one.cause for one in found} == {"without a system message the model's own template says 'Be kind.'"}
    assert all(one.is_edge for one in found)
    assert own.agrees(GO)
    assert not own.agrees(GO, everywhere=True)


def test_what_the_own_template_refuses_is_not_compared() -> None:
    own = OwnTemplate("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML, KNOWN)
    assert not own.takes_system
    assert len(own.prompts) < len(CASES)
    dropping = "{{ range .Messages }}{{ if ne .Role `system` }}" + GO[21:].replace("{{ end }}", "{{ end }}{{ end }}")
    assert own.agrees(dropping)


def test_a_template_of_either_kind_may_fail() -> None:
    failure = OwnTemplate("{{ raise_exception('never') }}", KNOWN).failure
    assert failure
    assert "never" in str(failure)
    with pytest.raises(TemplateError):
        OWN.differences("{{ if }}")


def test_prompts_stand_side_by_side() -> None:
    rows = side_by_side(("ours", "a\nb \n" + "x" * 60), ("theirs", "a\nb\n"))
    assert [row.rstrip() for row in rows] == [
        "  ours" + " " * 51 + "theirs",
        "  a↵" + " " * 51 + "| a↵",
        "> b ↵" + " " * 50 + "| b↵",
        "| " + "x" * 52 + " |",
        "| " + "x" * 8 + " " * 44 + " |",
    ]
    assert len(side_by_side(("", "x\n" * 1000), ("", ""))) < 50
