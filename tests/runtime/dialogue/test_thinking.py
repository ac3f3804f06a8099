"""Thoughts: where they begin and end, and which blanks are nobody's."""

from __future__ import annotations

import pytest
from corral.runtime.dialogue.families.table import tagged
from corral.runtime.dialogue.parts import Content, Part, Thought
from corral.runtime.dialogue.thinking import ThinkingTags

from tests.runtime.dialogue.segments import THINK, Output, parsed

BRACKETS = ThinkingTags("[THINK]", "[/THINK]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Hi.", [Content("Hi.")]),
        (" \n Hi. ", [Content(" \n Hi. ")]),
        (" \n ", [Content(" \n ")]),
        ("<think>a</think>b", [Thought("a"), Content("b")]),
        (" \n<think>\n\n a b\n</think>\n\n c\n", [Thought("a b\n"), Content("c\n")]),
        ("<think></think>", []),
        ("<think> \n </think> \n ", []),
        ("<think>a", [Thought("a")]),
        ("<think>a</thin", [Thought("a</thin")]),
        ("<think>a </ think></think>", [Thought("a </ think>")]),
        ("<think>a<think>b</think>c", [Thought("a<think>b"), Content("c")]),
        ("<think>a</think>b<think>c</think>d", [Thought("a"), Content("b<think>c</think>d")]),
        ("<think>a</think></think>", [Thought("a"), Content("</think>")]),
        ("<thin", [Content("<thin")]),
        (" <thinking>a</thinking>", [Content(" <thinking>a</thinking>")]),
        ("Well, <think>a</think>", [Content("Well, <think>a</think>")]),
        ("</think>a", [Content("</think>a")]),
        ("<Think>a</Think>", [Content("<Think>a</Think>")]),
        ("<think>\xa0a</think>\u3000b", [Thought("a"), Content("b")]),
    ],
)
def test_thoughts_stand_between_the_first_tags(text: str, expected: list[Part]) -> None:
    output = Output("", tagged("{"), [])
    assert parsed(output.parser([]), [text]) == expected
    assert parsed(output.parser([]), text) == expected
    for cut in range(len(text)):
        assert parsed(output.parser([]), [text[:cut], text[cut:]]) == expected


@pytest.mark.parametrize(
    ("prompt_end", "text", "expected"),
    [
        ("<think>", "a</think>b", [Thought("a"), Content("b")]),
        ("assistant\n<think>\n", "\na\n</think>\n\nb", [Thought("a\n"), Content("b")]),
        ("<think>\n\n</think>\n\n", "b", [Content("b")]),
        ("<think></think>", "<think>a</think>", [Content("<think>a</think>")]),
        ("</think>", "<think>a</think>b", [Thought("a"), Content("b")]),
        ("<think>a</think>", "b", [Content("b")]),
        ("<think>, he said", "<think>a</think>b", [Thought("a"), Content("b")]),
    ],
)
def test_the_prompt_may_begin_and_end_the_thought(prompt_end: str, text: str, expected: list[Part]) -> None:
    output = Output("", tagged("{"), [], prompt_end=prompt_end)
    assert parsed(output.parser([]), [text]) == expected
    assert parsed(output.parser([]), text) == expected


def test_tags_may_be_others() -> None:
    output = Output("", tagged("{"), [], BRACKETS)
    assert parsed(output.parser([]), "[THINK]<think>[/THINK]\n[x]") == [Thought("<think>"), Content("[x]")]


def test_thoughts_come_as_they_are_thought() -> None:
    parser = Output("", tagged("{"), []).parser([])
    assert parser.feed("<thi") == []
    assert parser.feed("nk>\nSo") == [Thought("So")]
    assert parser.feed(" it </") == [Thought(" it ")]
    assert parser.feed("is") == [Thought("</is")]
    assert parser.feed("</think>") == []
    assert parser.feed("\n\n") == []
    assert parser.feed("Yes") == [Content("Yes")]
    assert parser.end() == []


@pytest.mark.parametrize(
    ("prompt", "is_open", "is_closed"),
    [
        ("", False, False),
        ("<think>", True, False),
        ("x<think>\n ", True, False),
        ("<think>a", False, False),
        ("<think>\n\n</think>\n", False, True),
        ("a</think>", False, False),
    ],
)
def test_a_prompt_is_looked_at_from_its_end(prompt: str, is_open: bool, is_closed: bool) -> None:  # noqa: FBT001
    assert THINK.are_open_in(prompt) is is_open
    assert THINK.are_closed_in(prompt) is is_closed
