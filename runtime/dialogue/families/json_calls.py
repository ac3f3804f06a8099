"""Calls whose arguments are JSON: whole objects, lists of them, and names with the arguments behind. Pure.

Each reader's docstring is what it reads, from behind the opening tag on. Closing tags are taken where they stand; a model
that forgets one has made its call all the same.
"""

from __future__ import annotations

import re

from ..scanner import NotACallError, Scanner, Steps, Syntax
from ..toolcalls import Offer, object_in, read_object, written_call

_JSON = Syntax.of(r"-+.0-9aeflnrstuE\s,:", '"')
_FIRST_KEY = re.compile(r'(?:\[\s*)?\{\s*"(\w+)"'), re.compile(r'(?:\[\s*)?(?:\{\s*(?:"\w*)?)?')
_CALL_KEYS = frozenset({"name", "tool_name", "function", "arguments", "parameters", "type", "id", "tool_call_id"})
_BEFORE_OBJECT = re.compile(r"[^{]*")
_KIMI_ID = re.compile(r"(?:functions\.)?(.*?)(?::\d+)?", re.DOTALL)


def json_object(scanner: Scanner) -> Steps[str]:
    """The text of an object, or of what looks like one."""
    if not (yield from scanner.follows("{")):
        raise NotACallError
    return (yield from scanner.nested(_JSON))


def json_calls(scanner: Scanner, offer: Offer, *closing: str, is_bare: bool = False) -> Steps[None]:
    """calls := ("[" call { "," call } "]" | call { [";"] call }) [closing]"""
    yield from scanner.blanks()
    is_list = yield from scanner.take("[")
    while True:
        yield from scanner.blanks()
        text = yield from json_object(scanner)
        scanner.call(*written_call(text, offer, is_bare=is_bare))
        yield from scanner.blanks()
        if not (yield from scanner.take("," if is_list else ";")) and (
            is_list or not (yield from scanner.follows("{"))
        ):
            break
    if is_list:
        yield from scanner.expect("]")
    yield from endings(scanner, *closing)


def bare_calls(scanner: Scanner, offer: Offer) -> Steps[None]:
    """calls, at the very beginning, of tools that are offered. What can be seen not to be one is not waited for."""
    yield from scanner.blanks()
    found = yield from scanner.ahead(*_FIRST_KEY)
    if not found or found[1] not in _CALL_KEYS:
        raise NotACallError
    yield from json_calls(scanner, offer, is_bare=True)


def tagged_calls(scanner: Scanner, offer: Offer, *closing: str) -> Steps[None]:
    """calls := text object { [","] object } ["]"] [closing]

    For tags of an unknown family. As in Ollama, the text or the object says the name of a tool that is offered; the
    arguments are what the object says, or the object itself.
    """
    text = yield from scanner.header(_BEFORE_OBJECT)
    while True:
        written = yield from json_object(scanner)
        value = read_object(written)
        if "name" in value:
            scanner.call(*written_call(written, offer, is_bare=True))
        elif name := offer.named_in(text):
            scanner.call(name, object_in(value))
        else:
            raise NotACallError
        yield from scanner.blanks()
        more = yield from scanner.take(",")
        yield from scanner.blanks()
        if not more and not (yield from scanner.follows("{")):
            break
    yield from endings(scanner, "]", *closing)


def mistral_calls(scanner: Scanner, offer: Offer, *_: str) -> Steps[None]:
    """calls := "[" call … "]" | name ["[CALL_ID]" id] ["[ARGS]"] arguments"""
    yield from scanner.blanks()
    if (yield from scanner.follows("{", "[")):
        yield from json_calls(scanner, offer)
        return
    name = yield from scanner.name()
    if (yield from scanner.take("[CALL_ID]")):
        yield from scanner.name()
    yield from scanner.take("[ARGS]")
    yield from scanner.blanks()
    scanner.call(name, read_object((yield from json_object(scanner))))


def command_r_calls(scanner: Scanner, offer: Offer, *_: str) -> Steps[None]:
    """calls := "```json" calls "```" """
    yield from scanner.blanks()
    yield from scanner.expect("```json")
    yield from json_calls(scanner, offer, "```")


DEEPSEEK_SECTION, DEEPSEEK_CALL = "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"


def deepseek_calls(scanner: Scanner, opening: str) -> Steps[None]:
    """calls := [begin] call end [end]; a further call begins as the first one

    call := "function" sep name "```json" arguments "```" | name sep arguments
    """
    if opening == DEEPSEEK_SECTION:
        yield from scanner.blanks()
        yield from scanner.expect(DEEPSEEK_CALL)
    name = yield from scanner.name()
    yield from scanner.expect("<｜tool▁sep｜>")
    if not (yield from scanner.follows("{")):
        name = yield from scanner.name()
        yield from scanner.blanks()
        yield from scanner.expect("```json")
        yield from scanner.blanks()
    scanner.call(name, read_object((yield from json_object(scanner))))
    yield from endings(scanner, "```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")


KIMI_SECTION, KIMI_CALL = "<|tool_calls_section_begin|>", "<|tool_call_begin|>"


def kimi_calls(scanner: Scanner, opening: str) -> Steps[None]:
    """calls := [begin] call [end]; a further call begins as the first one

    call := "functions." name ":" number begin arguments end
    """
    if opening == KIMI_SECTION:
        yield from scanner.blanks()
        yield from scanner.expect(KIMI_CALL)
    yield from scanner.blanks()
    name = yield from scanner.name()
    yield from scanner.blanks()
    yield from scanner.expect("<|tool_call_argument_begin|>")
    yield from scanner.blanks()
    arguments = read_object((yield from json_object(scanner)))
    found = _KIMI_ID.fullmatch(name)
    scanner.call(found[1] if found else name, arguments)
    yield from endings(scanner, "<|tool_call_end|>", "<|tool_calls_section_end|>")


def endings(scanner: Scanner, *endings: str) -> Steps[None]:
    """Each of them, if it is there."""
    for ending in endings:
        yield from scanner.blanks()
        yield from scanner.take(ending)
