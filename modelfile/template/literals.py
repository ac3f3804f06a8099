"""Literals: what a constant in a template means, by Go's rules. Pure."""

from __future__ import annotations

import math
import re

from .errors import TemplateError
from .values import Value

_WORDS: dict[str, Value] = {"true": True, "false": False, "nil": None}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_OCTAL = re.compile(r"[+-]?0[0-9_]+")


def constant(text: str, line: int | None = None) -> Value:
    """The value of a STRING, NUMBER, character or word. Raises TemplateError for one that Go refuses."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        match text[0]:
            case "`":
                return text[1:-1].replace("\r", "")
            case '"':
                return _unescaped(text[1:-1], '"')
            case "'":
                code = ord(_unescaped(text[1:-1], "'"))
                return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
            case _:
                return _number(text)
    except (ValueError, TypeError):
        raise TemplateError(f"bad literal {text[:40]}", line=line) from None


def _unescaped(text: str, quote: str) -> str:
    """Go's escapes undone; \\x and octal ones give bytes."""

    def one(found: re.Match[str]) -> str:
        hex_byte, octal_byte, *points, other = found.groups()
        if other is not None:
            if other == quote:
                return quote
            if other not in _SIMPLE:
                raise ValueError(other)
            return _SIMPLE[other]
        if hex_byte or octal_byte:
            return bytes([int(hex_byte, 16) if hex_byte else int(octal_byte, 8)]).decode("utf-8", "surrogateescape")
        point = chr(int(points[0] or points[1], 16))
        point.encode()
        return point

    return _ESCAPE.sub(one, text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _number(text: str) -> int | float:
    """Go's number; imaginary ones are not supported. Raises ValueError."""
    digits = text.lstrip("+-").lower()
    if "p" in digits or (digits.startswith("0x") and "." in digits):
        if "p" not in digits:
            raise ValueError(text)
        real = float.fromhex(text.replace("_", ""))
    else:
        try:
            whole = int(text, 8) if _OCTAL.fullmatch(text) else int(text, 0)
        except ValueError:
            if _OCTAL.fullmatch(text):
                raise
            real = float(text)
        else:
            if not -(2**63) <= whole < 2**64:
                raise ValueError(text)
            return whole
    if not math.isfinite(real):
        raise ValueError(text)
    return real
