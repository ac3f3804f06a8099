"""Harmony, gpt-oss's form: an answer is a row of messages, each for a channel, and calls are messages to a function. Pure.

<|channel|>analysis<|message|>thoughts<|end|>
<|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>arguments<|call|>
<|start|>assistant<|channel|>final<|message|>content<|return|>
"""

from __future__ import annotations

import re

from ..parts import Content, Thought
from ..scanner import NotACallError, Scanner, Steps
from ..toolcalls import Offer, read_object
from .json_calls import json_object

MESSAGE = "<|message|>"
_CHANNEL = "<|channel|>"
_BEGINNINGS = ("<|start|>", _CHANNEL)
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_INSIDE = (_CHANNEL, "<|constrain|>")
SPECIAL = (*_BEGINNINGS, *_ENDS, "<|constrain|>", MESSAGE)
_MAX_INSIDE = 8
_PLAIN = re.compile(r"[^<]*")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")
_ANALYSIS = re.compile(re.escape(_CHANNEL) + r"\s*analysis\b")


def messages(scanner: Scanner, offer: Offer, prompt: str) -> Steps[None]:
    """messages := { beginning header "<|message|>" text end }; the end of the prompt may have begun the first one.

    Text outside of a message is content, and so are calls when no tool is offered.
    """
    _, found, begun = prompt.rpartition("<|start|>")
    header = begun if found else ""
    beginning = ""
    if header.endswith(MESSAGE):
        beginning = yield from _text(scanner, header)
    elif _CHANNEL in header or (yield from scanner.follows(" to=", "to=")):
        beginning = yield from _message(scanner, offer, "", header)
    while beginning := beginning or (yield from scanner.say_until(Content, _BEGINNINGS)):
        beginning = yield from _message(scanner, offer, beginning, "")


def _message(scanner: Scanner, offer: Offer, beginning: str, prompt: str) -> Steps[str]:
    """Returns what begins the next message, if that is seen already."""
    header = yield from scanner.attempt(beginning, _header(scanner, offer, prompt + beginning))
    return (yield from _text(scanner, header)) if header else ""


def _header(scanner: Scanner, offer: Offer, header: str) -> Steps[str]:
    """header := text { ("<|channel|>" | "<|constrain|>") text } "<|message|>", and the arguments if it is that of a call."""
    for _ in range(_MAX_INSIDE):
        header += yield from scanner.header(_PLAIN)
        special = yield from scanner.take(*_INSIDE, MESSAGE)
        header += special
        if special not in _INSIDE:
            break
    if not header.endswith(MESSAGE):
        raise NotACallError
    recipient = _RECIPIENT.search(header)
    if not recipient:
        return header
    if not offer:
        raise NotACallError
    yield from scanner.blanks()
    scanner.call(recipient[1], read_object((yield from json_object(scanner))))
    yield from scanner.blanks()
    yield from scanner.take(*_ENDS)
    return ""


def _text(scanner: Scanner, header: str) -> Steps[str]:
    """Returns what begins the next message, if that is what ends this one."""
    kind = Thought if _ANALYSIS.search(header) else Content
    end = yield from scanner.say_until(kind, (*_ENDS, *_BEGINNINGS))
    return end if end in _BEGINNINGS else ""
