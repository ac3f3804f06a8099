"""Calls whose arguments stand between tags, as text: the schema of the tool says what values they are. Pure.

Several families open their calls with the same tag, so what stands behind it says which form it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..scanner import NotACallError, Scanner, Steps
from ..toolcalls import Offer, read_json, read_object
from .json_calls import endings, json_calls, json_object


@dataclass(frozen=True, slots=True)
class Elements:
    """How a function and its parameters are written."""

    function: str
    parameter: str
    named: str
    """What ends the name of either."""
    parameter_end: str
    function_end: str


FUNCTIONS = Elements("<function=", "<parameter=", ">", "</parameter>", "</function>")
INVOCATIONS = Elements('<invoke name="', '<parameter name="', '">', "</parameter>", "</invoke>")
DSML_MARK = "｜DSML｜"
_DSML = Elements(
    f'<{DSML_MARK}invoke name="',
    f'<{DSML_MARK}parameter name="',
    '">',
    f"</{DSML_MARK}parameter>",
    f"</{DSML_MARK}invoke>",
)
_TEXT, _JSON = '" string="true', '" string="false'
"""What may stand behind the name of a parameter, and says what its value is."""


def tool_call(scanner: Scanner, offer: Offer, end: str) -> Steps[None]:
    """call := calls in JSON [end] | functions [end] | name (fenced | { "<arg_key>" key "</arg_key>" "<arg_value>" … }) end

    fenced := "```json" arguments "```"
    """
    yield from scanner.blanks()
    if (yield from scanner.follows("{", "[")):
        yield from json_calls(scanner, offer, end)
    elif (yield from scanner.take(FUNCTIONS.function)):
        yield from functions(scanner, offer, FUNCTIONS, end)
    else:
        yield from _named(scanner, offer, end)


def tool_calls(scanner: Scanner, offer: Offer, opening: str) -> Steps[None]:
    """calls := (calls in JSON | { "<tool_call>" call }) [end] [end of the answer] | call, behind a "<tool_call>" alone"""
    if opening == "<tool_call>":
        yield from tool_call(scanner, offer, "</tool_call>")
        return
    ends = ("</tool_calls>", "</answer>") if opening.startswith("<answer>") else ("</tool_calls>",)
    yield from scanner.blanks()
    if not (yield from scanner.follows("<tool_call>")):
        yield from json_calls(scanner, offer, *ends)
        return
    while (yield from scanner.take("<tool_call>")):
        yield from tool_call(scanner, offer, "</tool_call>")
        yield from scanner.blanks()
    yield from endings(scanner, *ends)


def invocations(scanner: Scanner, offer: Offer, opening: str) -> Steps[None]:
    """call := functions [end], in the words of MiniMax or in DeepSeek's."""
    elements = _DSML if DSML_MARK in opening else INVOCATIONS
    yield from scanner.blanks()
    yield from scanner.expect(elements.function)
    yield from functions(scanner, offer, elements, "</" + opening.removeprefix("<"))


def functions(scanner: Scanner, offer: Offer, elements: Elements, end: str) -> Steps[None]:
    """functions := name ">" (arguments in JSON | { parameter }) end of it { function … } [end]

    parameter := begin key [kind] ">" value end of it
    """
    while True:
        name = yield from scanner.name()
        yield from scanner.expect(elements.named)
        yield from scanner.blanks()
        arguments: dict[str, Any] = {}
        if (yield from scanner.follows("{")):
            arguments = read_object((yield from json_object(scanner)))
            yield from scanner.blanks()
        while (yield from scanner.take(elements.parameter)):
            key = yield from scanner.name()
            kind = yield from scanner.take(_TEXT, _JSON)
            yield from scanner.expect(elements.named)
            followers = (elements.parameter, elements.function_end, end)
            text = yield from _text(scanner, elements.parameter_end, followers)
            arguments[key] = text if kind == _TEXT else _value(offer, name, key, text, is_json=kind == _JSON)
        if not (yield from scanner.take(elements.function_end)) and not (yield from scanner.follows(end)):
            raise NotACallError
        scanner.call(name, arguments)
        yield from scanner.blanks()
        if not (yield from scanner.take(elements.function)):
            break
    yield from scanner.take(end)


def _named(scanner: Scanner, offer: Offer, end: str) -> Steps[None]:
    name = yield from scanner.name()
    yield from scanner.blanks()
    arguments: dict[str, Any] = {}
    is_fenced = yield from scanner.take("```json")
    if is_fenced:
        yield from scanner.blanks()
        arguments = read_object((yield from json_object(scanner)))
        yield from endings(scanner, "```")
        yield from scanner.blanks()
    while (yield from scanner.take("<arg_key>")):
        key = (yield from scanner.until("</arg_key>")).strip()
        yield from scanner.blanks()
        yield from scanner.expect("<arg_value>")
        text = yield from _text(scanner, "</arg_value>", ("<arg_key>", end))
        arguments[key] = _value(offer, name, key, text)
    if not (arguments or is_fenced or name in offer):  # a word between tags is not much of a call
        raise NotACallError
    yield from scanner.expect(end)
    scanner.call(name, arguments)


def _text(scanner: Scanner, end: str, followers: tuple[str, ...]) -> Steps[str]:
    """A text up to its end tag. One that nothing of the call follows belongs to the text."""
    read: list[str] = []
    while True:
        read.append((yield from scanner.until(end)))
        gap = yield from scanner.blanks()
        if (yield from scanner.follows(*followers)):
            return "".join(read)
        read += end, gap


def _value(offer: Offer, name: str, key: str, text: str, *, is_json: bool = False) -> Any:
    """What a text stands for: one that is said to be JSON is, if it can be, and else the schema says it."""
    if is_json:
        try:
            return read_json(text)
        except NotACallError:
            pass
    return offer.value(name, key, text.removeprefix("\n").removesuffix("\n"))
