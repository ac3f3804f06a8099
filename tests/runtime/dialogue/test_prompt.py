"""From a conversation to a prompt: which template, and which messages."""

from __future__ import annotations

import pytest
from corral.modelfile.template.conversation import ChatMessage
from corral.runtime.dialogue.prompt import Templates, chat_messages, generate_messages, render_prompt
from corral.store.errors import CorralError

HI = ChatMessage("user", "Hi.")
EXAMPLE = [ChatMessage("user", "1+1?"), ChatMessage("assistant", "2")]
SYSTEM = ChatMessage("system", "Be brief.")
JINJA = "{{ bos_token }}{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"


def test_a_models_system_comes_first_and_then_its_messages() -> None:
    assert chat_messages(EXAMPLE, "Be brief.", [HI]) == [SYSTEM, *EXAMPLE, HI]


def test_a_system_of_the_request_replaces_the_models() -> None:
    own = ChatMessage("system", "Be long.")
    assert chat_messages(EXAMPLE, "Be brief.", [own, HI]) == [*EXAMPLE, own, HI]
    assert chat_messages([], "", [HI]) == [HI]


def test_a_prompt_is_the_last_message() -> None:
    assert generate_messages(EXAMPLE, "Be brief.", "Hi.") == [SYSTEM, *EXAMPLE, HI]
    assert generate_messages([], "", "Hi.") == [HI]


@pytest.mark.parametrize("is_chat", [True, False])
def test_the_template_layer_wins_over_the_weights_own(*, is_chat: bool) -> None:
    templates = Templates(go="{{ .System }}|{{ .Prompt }}|", jinja=JINJA, bos="<s>")
    assert render_prompt(templates, [SYSTEM, HI], is_chat=is_chat) == "Be brief.|Hi.|"


@pytest.mark.parametrize("is_chat", [True, False])
def test_the_weights_own_template_is_next(*, is_chat: bool) -> None:
    rendered = render_prompt(Templates(jinja=JINJA, bos="<s>"), [SYSTEM, HI], is_chat=is_chat)
    assert rendered == "<s>[system:Be brief.][user:Hi.]"


def test_without_any_a_chat_is_chatml_and_a_prompt_is_itself() -> None:
    chatml = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"
    assert render_prompt(Templates(), [SYSTEM, HI], is_chat=True) == chatml
    assert render_prompt(Templates(), [HI], is_chat=False) == "Hi."


def test_half_a_surrogate_pair_of_a_template_is_a_broken_character() -> None:
    rendered = render_prompt(Templates(jinja=r"{{ '\ud800' }}{{ messages[0].content }}"), [HI], is_chat=True)
    assert rendered == "?Hi."


@pytest.mark.parametrize(
    "templates",
    [
        Templates(go="{{ .Prompt"),
        Templates(go="{{ nope .Prompt }}"),
        Templates(jinja="{% for %}"),
        Templates(jinja="{{ raise_exception('no') }}"),
        Templates(jinja="{{ messages.__class__.__mro__ }}"),
        Templates(jinja="{% for a in range(10**9) %}{% for b in range(10**9) %}x{% endfor %}{% endfor %}"),
        Templates(jinja="{{ 1 / 0 }}"),
        Templates(jinja="{{ 'x' * 10**10 }}"),
        Templates(go="{{ range .Messages }}" * 500 + "{{ end }}" * 500),
    ],
)
def test_error_a_template_that_fails_is_an_error_of_ours(templates: Templates) -> None:
    with pytest.raises(CorralError) as caught:
        render_prompt(templates, [HI], is_chat=True)
    assert str(caught.value)
