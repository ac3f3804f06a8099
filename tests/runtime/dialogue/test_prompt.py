"""From a conversation to a prompt: which template, and which messages."""

from __future__ import annotations

from typing import Any

import pytest
from corral.modelfile.template.conversation import ChatMessage, Conversation, Think, ToolCall
from corral.runtime.dialogue.prompt import Draft, Templates, chat_messages, generate_messages, without_thoughts
from corral.store.errors import CorralError

HI = ChatMessage("user", "Hi.")
EXAMPLE = [ChatMessage("user", "1+1?"), ChatMessage("assistant", "2")]
SYSTEM = ChatMessage("system", "Be brief.")
JINJA = "{{ bos_token }}{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALLED = [
    HI,
    ChatMessage("assistant", "", "Hm.", (ToolCall("look", {"at": "sky"}, "call_1"),)),
    ChatMessage("tool", "blue", tool_name="look", tool_call_id="call_1"),
]
GO_ALL = (
    "{{ range .Tools }}T:{{ .Function.Name }};{{ end }}{{ range .Messages }}{{ .Role }}:{{ .Content }}{{ .Thinking }}"
    "{{ range .ToolCalls }}{{ .ID }}={{ .Function.Name }}{{ .Function.Arguments }}{{ end }}{{ .ToolName }}{{ .ToolCallID }};"
    "{{ end }}{{ if .IsThinkSet }}{{ .Think }}{{ .ThinkLevel }}{{ end }}"
)
JINJA_ALL = (
    "{% for t in tools or [] %}T:{{ t.function.name }};{% endfor %}{% for m in messages %}{{ m.role }}:{{ m.content }}"
    "{{ m.thinking }}{% for c in m.tool_calls or [] %}{{ c.id }}={{ c.function.name }}{{ c.function.arguments | tojson }}"
    "{% endfor %}{{ m.name }}{{ m.tool_call_id }};{% endfor %}{{ enable_thinking }}{{ reasoning_effort }}"
)


def rendered(
    templates: Templates,
    messages: list[ChatMessage],
    *,
    is_chat: bool = True,
    tools: list[dict[str, Any]] | None = None,
    think: Think = None,
) -> str:
    conversation = Conversation(messages, tools or (), think)
    return Draft(conversation=conversation, templates=templates, is_chat=is_chat).render(messages)


def test_a_models_system_comes_first_and_then_its_messages() -> None:
    assert chat_messages(EXAMPLE, "Be brief.", [HI]) == [SYSTEM, *EXAMPLE, HI]


def test_a_system_of_the_request_replaces_the_models() -> None:
    own = ChatMessage("system", "Be long.")
    assert chat_messages(EXAMPLE, "Be brief.", [own, HI]) == [*EXAMPLE, own, HI]
    assert chat_messages([], "", [HI]) == [HI]


def test_a_prompt_is_the_last_message() -> None:
    assert generate_messages(EXAMPLE, "Be brief.", "Hi.") == [SYSTEM, *EXAMPLE, HI]
    assert generate_messages([], "", "Hi.") == [HI]
    assert generate_messages([], "", "Hi.", 2) == [ChatMessage("user", "Hi.", images=2)]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("<think>Hm.</think>Two.", "Two."),
        ("\n <think>\nHm.\n</think>\n\n Two.", "Two."),
        ("<think>a</think>b<think>c</think>d", "b<think>c</think>d"),
        ("<think>and so on", ""),
        ("Two. <think>Hm.</think>", "Two. <think>Hm.</think>"),
        (" Two.", " Two."),
    ],
)
def test_what_was_thought_before_the_last_question_is_left_out(answer: str, left: str) -> None:
    said, question = ChatMessage("assistant", answer), ChatMessage("user", "<think>no</think>And 3?")
    assert without_thoughts([HI, said, question, said]) == [HI, ChatMessage("assistant", left), question, said]
    assert without_thoughts([said]) == [said]


@pytest.mark.parametrize("is_chat", [True, False])
def test_gos_template_is_used_where_there_is_one(*, is_chat: bool) -> None:
    templates = Templates(go="{{ .System }}|{{ .Prompt }}|", jinja=JINJA, bos="<s>")
    assert rendered(templates, [SYSTEM, HI], is_chat=is_chat) == "Be brief.|Hi.|"


@pytest.mark.parametrize("is_chat", [True, False])
def test_jinjas_template_is_next(*, is_chat: bool) -> None:
    templates = Templates(jinja=JINJA, bos="<s>")
    assert rendered(templates, [SYSTEM, HI], is_chat=is_chat) == "<s>[system:Be brief.][user:Hi.]"


def test_without_any_a_chat_is_chatml_and_a_prompt_is_itself() -> None:
    chatml = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(Templates(), [SYSTEM, HI]) == chatml
    assert rendered(Templates(), [HI], is_chat=False) == "Hi."


@pytest.mark.parametrize(
    ("think", "go", "jinja"),
    [
        (None, "", ""),
        (False, "false", "False"),
        (True, "truemedium", "True"),
        ("low", "truelow", "Truelow"),
    ],
)
def test_templates_see_tools_calls_and_thinking(think: Think, go: str, jinja: str) -> None:
    seen = 'T:look;user:Hi.;assistant:Hm.call_1=look{"at":"sky"};tool:bluelookcall_1;'
    assert rendered(Templates(go=GO_ALL), CALLED, tools=TOOLS, think=think) == seen + go
    seen = seen.replace('"at":"', '"at": "')
    assert rendered(Templates(jinja=JINJA_ALL), CALLED, tools=TOOLS, think=think) == seen + jinja


def test_a_suffix_makes_a_prompt_of_two_ends() -> None:
    templates = Templates(go="<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ if .IsThinkSet }}{{ .Think }}{{ end }}")
    conversation = Conversation([ChatMessage("user", "def f(")], think=False)
    draft = Draft(conversation=conversation, templates=templates, suffix="return 1", is_chat=False)
    assert draft.render(conversation.messages) == "<pre>def f(<suf>return 1<mid>false"


def test_a_raw_prompt_is_what_it_is() -> None:
    draft = Draft(conversation=Conversation([HI]), templates=Templates(go="!{{ .Prompt }}"), is_raw=True)
    assert draft.render([ChatMessage("user", "[img-0]Hi.")]) == "Hi."


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (Templates(), False),
        (Templates(go="{{ .Prompt }} bos_token"), False),
        (Templates(jinja="{{ messages }}"), False),
        (Templates(jinja="{{ bos_token }}"), True),
        (Templates(jinja="{{ messages }}{{eos_token}}"), True),
        (Templates(go="{{ .Prompt }}", jinja="{{ bos_token }}"), False),
    ],
)
def test_only_jinja_may_need_the_models_tokens(templates: Templates, *, expected: bool) -> None:
    assert templates.mentions_tokens is expected


def test_half_a_surrogate_pair_of_a_template_is_a_broken_character() -> None:
    assert rendered(Templates(jinja=r"{{ '\ud800' }}{{ messages[0].content }}"), [HI]) == "?Hi."


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
        rendered(templates, [HI])
    assert str(caught.value)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("templates", "arguments"),
    [
        (Templates(go=GO_ALL), nested(20_000)),
        (Templates(jinja=JINJA_ALL), nested(20_000)),
        (Templates(go=GO_ALL), {"a": 10**400}),
    ],
)
def test_error_arguments_that_no_template_can_show(templates: Templates, arguments: dict[str, Any]) -> None:
    with pytest.raises(CorralError, match="template"):
        rendered(templates, [HI, ChatMessage("assistant", "", tool_calls=(ToolCall("f", arguments),))])
