"""How much of a conversation fits: with a tokenizer whose tokens are a beginning and the bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.errors import TemplateError
from corral.runtime.dialogue.history import Prompt, fit
from corral.runtime.dialogue.prompt import MAX_PROMPT, Draft, Templates

GO = Templates(go="{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}")
ALTERNATING = (
    "{% set talk = messages | rejectattr('role', 'equalto', 'system') | list %}"
    "{% if talk[0].role == 'assistant' %}{{ raise_exception('a question comes first') }}{% endif %}"
    "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
)
SYSTEM = ChatMessage("system", "Be brief.")


class Tokenizer:
    """Counts tokens, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def count(self, text: str) -> int:
        self.asked.append(text)
        return 1 + len(text.encode())


def talk(turns: int) -> list[ChatMessage]:
    """Questions and answers, a question last."""
    roles = ("user", "assistant")
    return [ChatMessage(roles[i % 2], f"message {i:03}") for i in range(2 * turns - 1)]


def fitted(
    messages: Sequence[ChatMessage],
    limit: int,
    *,
    templates: Templates = GO,
    image_tokens: int = 768,
    tokenizer: Tokenizer | None = None,
) -> Prompt:
    draft = Draft(conversation=Conversation(messages), templates=templates, image_tokens=image_tokens)
    asked = tokenizer or Tokenizer()

    async def fits(text: str, more: int) -> bool:
        return await asked.count(text) + more <= limit

    return asyncio.run(fit(draft, limit, fits))


def text_of(messages: Sequence[ChatMessage]) -> str:
    return Draft(conversation=Conversation(messages), templates=GO).render(messages)


def tokens_of(messages: Sequence[ChatMessage]) -> int:
    return 1 + len(text_of(messages).encode())


def test_while_tools_are_called_the_question_stays() -> None:
    calling = [ChatMessage("assistant" if i % 2 else "tool", f"step {i:03}") for i in range(1, 20)]
    question = ChatMessage("user", "What is the weather?")
    kept = [SYSTEM, question, *calling[-3:]]
    found = fitted([SYSTEM, *talk(5), ChatMessage("assistant", "Ask."), question, *calling], tokens_of(kept))
    assert found == Prompt(text_of(kept), dropped=10 + len(calling) - 3)


def test_the_oldest_messages_go_first_and_the_boundary_is_exact() -> None:
    history = talk(20)
    for dropped in range(len(history)):
        left = history[dropped:]
        for limit in (tokens_of(left), tokens_of(left) + 3):
            assert fitted(history, limit) == Prompt(text_of(left), dropped=dropped)
        # One token less, and one message more has to go; but never the last.
        gone = min(dropped + 1, len(history) - 1)
        assert fitted(history, tokens_of(left) - 1) == Prompt(text_of(history[gone:]), dropped=gone)


def test_it_is_what_trying_one_after_the_other_gives() -> None:
    chance = random.Random(5)
    for _ in range(200):
        roles = [chance.choice(["system", "user", "assistant", "tool"]) for _ in range(chance.randint(1, 12))]
        # Templates join neighbours of one role, so that leaving one out may take more or less than its own text.
        history = [ChatMessage(role, "€" * chance.randint(0, 30)) for role in roles]
        question = max((i for i, role in enumerate(roles) if role == "user"), default=-1)
        candidates = [
            [message for i, message in enumerate(history) if i >= start or i == question or message.role == "system"]
            for start in range(len(history))
        ]
        sizes = [tokens_of(candidate) for candidate in candidates]
        assert sizes == sorted(sizes, reverse=True)
        limit = chance.randint(1, 2 * sizes[0])
        first = next((i for i, size in enumerate(sizes) if size <= limit), len(history) - 1)
        assert fitted(history, limit).text == text_of(candidates[first])


def test_system_messages_and_the_last_one_stay_wherever_they_are() -> None:
    other = ChatMessage("system", "In French.")
    history = [SYSTEM, *talk(5), other, *talk(3)]
    assert fitted(history, 1) == Prompt(text_of([SYSTEM, other, history[-1]]), dropped=len(history) - 3)
    assert fitted([*talk(3), other], 1) == Prompt(text_of([talk(3)[-1], other]), dropped=4)
    part = [SYSTEM, *history[-7:]]
    assert fitted(history, tokens_of(part)) == Prompt(text_of(part), dropped=len(history) - len(part))


@pytest.mark.parametrize("messages", [talk(1), [SYSTEM], [SYSTEM, *talk(1)], [SYSTEM, SYSTEM, *talk(1)]])
def test_where_nothing_can_go_nothing_is_counted(messages: list[ChatMessage]) -> None:
    tokenizer = Tokenizer()
    assert fitted(messages, 1, tokenizer=tokenizer).dropped == 0
    assert tokenizer.asked == []


def test_a_text_that_must_fit_is_not_counted() -> None:
    history, tokenizer = talk(3), Tokenizer()
    assert fitted(history, tokens_of(history) + 10, tokenizer=tokenizer).dropped == 0
    assert tokenizer.asked == []
    assert fitted(history, tokens_of(history), tokenizer=tokenizer).dropped == 0
    assert len(tokenizer.asked) == 1
    # In characters it is shorter than in bytes, and a token may be a byte.
    wide = [ChatMessage("user", "€" * 100), *talk(1)]
    assert fitted(wide, tokens_of(wide) - 1, tokenizer=tokenizer).dropped == 1


def test_a_long_history_is_counted_a_few_times_only() -> None:
    history, tokenizer = talk(1000), Tokenizer()
    assert fitted(history, tokens_of(history[-50:]), tokenizer=tokenizer).dropped == len(history) - 50
    assert len(tokenizer.asked) <= 12


def test_images_take_their_part_of_the_context() -> None:
    history = [ChatMessage("user", "See.", images=2), ChatMessage("assistant", "I do."), ChatMessage("user", "Well?")]
    size = tokens_of(history)
    whole = Prompt(text_of([ChatMessage("user", "[img-0][img-1]See."), *history[1:]]), images=2)
    assert fitted(history, size + 2 * 768) == whole
    assert fitted(history, size + 2 * 768 - 1) == Prompt(text_of(history[1:]), dropped=1)
    assert fitted(history, size, image_tokens=0) == whole


def test_images_are_numbered_over_the_messages_that_are_kept() -> None:
    history = [ChatMessage("user", f"See [img] {i}.", images=1) for i in range(3)]
    templates = Templates(jinja="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert fitted(history, 2 * 768 + 100, templates=templates) == Prompt("See [img-0] 1.See [img-1] 2.", 2, 1)


@pytest.mark.parametrize("before", [[], [SYSTEM]])
def test_a_template_that_wants_a_question_first_gets_one(before: list[ChatMessage]) -> None:
    templates, questions = Templates(jinja=ALTERNATING), talk(20)
    history = [*before, *questions]
    for dropped in range(1, len(questions)):
        left = [*before, *questions[dropped:]]
        odd = dropped % 2  # what is left begins with an answer
        prompt = fitted(history, tokens_of(left), templates=templates)
        assert prompt == Prompt(text_of([*before, *questions[dropped + odd :]]), dropped=dropped + odd)


def test_error_a_template_that_refuses_all_of_it() -> None:
    with pytest.raises(TemplateError, match="a question comes first"):
        fitted(talk(3)[1:], 10_000, templates=Templates(jinja=ALTERNATING))
    with pytest.raises(TemplateError, match="a question comes first"):
        fitted(
            [ChatMessage("assistant", "Yes."), ChatMessage("assistant", "No.")],
            1,
            templates=Templates(jinja=ALTERNATING),
        )


def test_what_is_too_long_to_be_a_prompt_is_left_out_uncounted() -> None:
    tokenizer, history = Tokenizer(), [ChatMessage("user", "x" * MAX_PROMPT), *talk(2)]
    assert fitted(history, 4096, tokenizer=tokenizer).dropped == 1
    assert all(len(text) < MAX_PROMPT for text in tokenizer.asked)
