"""A TEMPLATE made from a chat template: equal on every case, or none at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from corral.modelfile.template.choice import jinja_capabilities
from corral.modelfile.template.collate import render_chat
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.drift import OwnTemplate
from corral.modelfile.template.parser import Template
from corral.modelfile.template.translate import recognise, translate
from corral.store.vocabulary import Vocabulary

PUBLISHED = {path.stem: path.read_text() for path in (Path(__file__).parent / "published").glob("*.jinja")}
KNOWN = Vocabulary(frozenset({"<s>", "</s>"}), frozenset({"</s>"}), "<s>", "</s>", adds_bos=True)
NAMES = {
    "alfred-40b": "alfred",
    "chatml": "chatml",
    "smollm2-instruct": "chatml",
    "gemma-2-it": "gemma-instruct",
    "gemma-3-it": "gemma3-instruct",
    "llama-2-chat": "llama2-chat",
    "llama-3-instruct": "llama3-instruct",
    "openchat-3.5": "openchat",
    "phi-3-medium-instruct": "phi-3",
    "zephyr-7b": "zephyr",
    "qwen2.5-instruct": None,  # it knows tools
    "chatqa-1.5": "chatqa",  # it leaves system messages out, which the named one does not
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_template_is_translated_or_known_for_more(name: str) -> None:
    own = OwnTemplate(PUBLISHED[name], KNOWN)
    text = translate(own)
    if jinja_capabilities(PUBLISHED[name]):
        assert text is None
        return
    assert text is not None
    assert own.agrees(text, everywhere=True)
    # And on what it was not made from.
    turns = [("user", "eins"), ("assistant", "zwei"), ("user", "drei"), ("assistant", "vier"), ("user", "{{ fünf }}")]
    talk = Conversation([ChatMessage(role, said) for role, said in turns])
    assert own.bare(render_chat(Template(text), talk)) == own.prompt(talk)


@pytest.mark.parametrize("name", NAMES)
def test_templates_are_recognised_by_what_they_do(name: str) -> None:
    named = recognise(OwnTemplate(PUBLISHED[name], KNOWN))
    assert (named and named.name) == NAMES[name]


@pytest.mark.parametrize(
    "jinja",
    [
        "{{ raise_exception('never') }}",
        "always the same",
        "{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}",
        "{{ messages[-1].content }}",
        "{% for m in messages | reverse %}{{ m.content }}\n{% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    ],
)
def test_other_forms_are_left_alone(jinja: str) -> None:
    assert translate(OwnTemplate(jinja, KNOWN)) is None


def test_braces_in_a_template_are_translated_too() -> None:
    own = OwnTemplate(
        "{% for m in messages %}{{ '{{' }}{{ m.role }}}} {{ m.content }};{% endfor %}{{ '{{x}}' }}", KNOWN
    )
    text = translate(own)
    assert text is not None
    assert own.agrees(text, everywhere=True)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
    ],
    ids=["a constant", "parts", "capitals"],
)
def test_a_template_that_never_says_what_was_said_is_nobody_elses(text: str) -> None:
    assert recognise(OwnTemplate(text, KNOWN)) is None


def test_all_prompts_of_a_template_have_one_budget() -> None:
    greedy = OwnTemplate("{% set x = 'a' * 9000000 %}{% for m in messages %}{{ m.content }}{% endfor %}", KNOWN)
    assert 0 < len(greedy.prompts) < 8
    assert recognise(greedy) is None
