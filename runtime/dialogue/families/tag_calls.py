"""Calls whose arguments stand between tags, as text: the schema of the tool says what values they are. Pure.

Several families open their calls with the same tag, so what stands behind it says which form it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..scanner import NotACallError, Scanner, Steps
from ..toolcalls import Offer, read_object
from .json_calls import json_calls, json_object


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


def tool_call(scanner: Scanner, offer: Offer, end: str) -> Steps[None]:
    """call := calls in JSON [end] | functions [end] | name { "<arg_key>" key "</arg_key>" "<arg_value>" … } end"""
    yield from scanner.blanks()
    if (yield from scanner.follows("{", "[")):
        yield from json_calls(scanner, offer, end)
    elif (yield from scanner.take(FUNCTIONS.function)):
        yield from functions(scanner, offer, FUNCTIONS, end)
    else:
        yield from _arguments_by_key(scanner, offer, end)


def invocations(scanner: Scanner, offer: Offer, end: str) -> Steps[None]:
    """call := functions [end], in the words of MiniMax."""
    yield from scanner.blanks()
    yield from scanner.expect(INVOCATIONS.function)
    yield from functions(scanner, offer, INVOCATIONS, end)


def functions(scanner: Scanner, offer: Offer, elements: Elements, end: str) -> Steps[None]:
    """functions := name ">" (arguments in JSON | { parameter key ">" value end of it }) end of it { function … } [end]"""
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
            yield from scanner.expect(elements.named)
            followers = (elements.parameter, elements.function_end, end)
            text = yield from _text(scanner, elements.parameter_end, followers)
            arguments[key] = offer.value(name, key, text)
        if not (yield from scanner.take(elements.function_end)) and not (yield from scanner.follows(end)):
            raise NotACallError
        scanner.call(name, arguments)
        yield from scanner.blanks()
        if not (yield from scanner.take(elements.function)):
            break
    yield from scanner.take(end)


def _arguments_by_key(scanner: Scanner, offer: Offer, end: str) -> Steps[None]:
    name = yield from scanner.name()
    yield from scanner.blanks()
    arguments: dict[str, Any] = {}
    while (yield from scanner.take("<arg_key>")):
        key = (yield from scanner.until("</arg_key>")).strip()
        yield from scanner.blanks()
        yield from scanner.expect("<arg_value>")
        text = yield from _text(scanner, "</arg_value>", ("<arg_key>", end))
        arguments[key] = offer.value(name, key, text)
    if not arguments and name not in offer:  # a word between tags is not much of a call
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
            return "".join(read).removeprefix("\n").removesuffix("\n")
        read += end, gap
