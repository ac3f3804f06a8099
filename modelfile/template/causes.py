"""Causes: why two prompts of one conversation differ, in words that say what to change. Pure."""

from __future__ import annotations

import re
from itertools import zip_longest

from ...store.vocabulary import Vocabulary
from .cases import Case

SPECIAL = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?(?:s|bos|eos|start_of_turn|end_of_turn)>")
"""What is written like a token that stands for itself, in the model families known here."""
PLAIN_MARKS = frozenset({"<|user|>", "<|assistant|>", "<|system|>"})
"""Some families (Zephyr) write these as ordinary text."""
_WORD = re.compile(rf"{SPECIAL.pattern}|\[/?[A-Z_]+\]|\w+|\s+|.", re.DOTALL)
_ROLE_NAMES = "user assistant system model human bot ai gpt tool ipython developer instruction response"
_ROLES = frozenset(_ROLE_NAMES.split())
_DROPPED = {
    "system": "the system message is dropped",
    "user": "what the user says is dropped",
    "assistant": "the model's earlier replies are dropped",
    "tool": "the tool's result is dropped",
}


def find_cause(case: Case, ours: str, theirs: str, vocabulary: Vocabulary) -> str:
    """The cause of the first difference, as far as it can be told."""
    return (
        _contents(case, ours, theirs)
        or _foreign(ours, theirs, vocabulary)
        or _beginning(ours, theirs, vocabulary)
        or _first_word(case, ours, theirs, vocabulary)
    )


def foreign_tokens(text: str, vocabulary: Vocabulary) -> list[str]:
    """What is written like a special token and is none of this vocabulary's, each once."""
    return [found for found in dict.fromkeys(SPECIAL.findall(text)) if found not in vocabulary.special]


def _contents(case: Case, ours: str, theirs: str) -> str:
    """What was said, and is missing or there twice."""
    for message in case.conversation.messages:
        if not message.content:
            continue
        here, there = ours.count(message.content), theirs.count(message.content)
        if here < there:
            return _DROPPED[message.role]
        if here > there:
            what = "the system message" if message.role == "system" else f"the message of the {message.role}"
            return (
                f"{what} is written twice" if there else f"{what} is written, which the model's own template leaves out"
            )
    return ""


def _foreign(ours: str, theirs: str, vocabulary: Vocabulary) -> str:
    if not vocabulary.special:
        return ""
    found = [token for token in foreign_tokens(ours, vocabulary) if token not in theirs]
    return f"it writes {', '.join(found)}, which this model has no token for" if found else ""


def _beginning(ours: str, theirs: str, vocabulary: Vocabulary) -> str:
    bos = vocabulary.bos
    if not bos or ours.startswith(bos) == theirs.startswith(bos):
        return ""
    if theirs.startswith(bos):
        return f"the beginning, {bos}, is missing, and this model's tokenizer does not add it"
    return f"it begins with {bos}, which the tokenizer adds already" if vocabulary.adds_bos else f"it begins with {bos}"


def _first_word(case: Case, ours: str, theirs: str, vocabulary: Vocabulary) -> str:
    before = ""
    for here, there in zip_longest(_WORD.findall(ours), _WORD.findall(theirs), fillvalue=""):
        if here != there:
            return _word(case, before, here, there, vocabulary)
        before += here
    return "they differ"


def _word(case: Case, before: str, here: str, there: str, vocabulary: Vocabulary) -> str:
    is_after_text = any(
        message.content and before.rstrip().endswith(message.content) for message in case.conversation.messages
    )
    marks = [bool(SPECIAL.fullmatch(word)) for word in (here, there)]
    if there in vocabulary.ends and not SPECIAL.fullmatch(here):
        return f"wrong end of turn: {there} is missing"
    if here.isspace() or there.isspace():
        return _blanks(here, there)
    if here.lower() in _ROLES and there.lower() in _ROLES:
        return f"wrong role name: {here!r} where the model's own template has {there!r}"
    if there in vocabulary.ends or (is_after_text and all(marks)):
        return f"wrong end of turn: {here} where the model's own template has {there}"
    if all(marks):
        return f"wrong mark: {here} where the model's own template has {there}"
    if not here:
        return f"it ends where the model's own template goes on with {there!r}"
    if not there:
        return f"it goes on with {here!r} where the model's own template ends"
    return f"{here!r} where the model's own template has {there!r}"


def _blanks(here: str, there: str) -> str:
    if here.isspace() and not there:
        return f"trailing space: it ends with {here!r} where the model's own template ends"
    if there.isspace() and not here:
        return f"trailing space: it lacks {there!r} at the end"
    if here.isspace() and there.isspace():
        return f"other blanks: {here!r} where the model's own template has {there!r}"
    return f"other blanks: {here!r} where the model's own template has {there!r}"
