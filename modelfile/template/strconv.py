"""Texts and numbers as Go's strconv writes them. Pure."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from ..printable import kept

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_UNSAFE = re.compile(r"""[\x80-\U0010ffff]+|[\x00-\x1f\x7f"'\\]""")
"""What may need an escape; beyond ASCII most text needs none, so it is looked at by runs."""
_UNQUOTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f`\ufeff\ud800-\udfff]")
"""What a text in backquotes cannot have."""
_LINES = re.compile("[\t\r\n]")
_MANTISSA = 52
"""Bits of a float's mantissa behind the point."""
_SMALLEST = -1074
"""The exponent of the smallest float."""


def quote(text: str, mark: str = '"', *, is_ascii: bool = False) -> str:
    """A text or, with `'`, a character as a literal; escaped is what is not printable, or with `is_ascii` not ASCII."""

    def escape(char: str) -> str:
        if char in (mark, "\\"):
            return "\\" + char
        if char in "\"'" or (not is_ascii and is_printable(char)):
            return char
        return _ESCAPES.get(char) or _escaped(ord(char))

    def replace(found: re.Match[str]) -> str:
        run = found[0]
        return run if not is_ascii and run > "~" and is_printable(run) else "".join(map(escape, run))

    return mark + _UNSAFE.sub(replace, text) + mark


def backquote(text: str) -> str | None:
    """A text as a literal in backquotes, None where there is none."""
    return None if _UNQUOTABLE.search(text) else f"`{text}`"


def is_printable(text: str) -> bool:
    """Whether Go prints all characters of a text as they are."""
    return kept(text) == text and not _LINES.search(text)


def shortest(value: float) -> str:
    """The fewest digits that mean this number, with an exponent below 1e-4 and from a million on."""
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[repr(value)]
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + exponent - 1 if written != "0" else 0
    if -4 <= power < 6:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa = written[0] + ("." + written[1:] if len(written) > 1 else "")
    return f"{'-' * sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def real(value: float, form: str, precision: int | None) -> str:
    """A finite number that is not negative in one of the forms `b`, `e`, `f`, `g` and `x`."""
    match form:
        case "b":
            return _binary(value)
        case "x":
            return _hexadecimal(value, precision)
        case "g" if precision is None:
            return shortest(value)
        case _:
            return format(value, f".{6 if precision is None else precision}{form}")


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte of no character
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _binary(value: float) -> str:
    """The mantissa as a whole number, and the power of two that it is multiplied with."""
    exponent = max(math.frexp(value)[1] - _MANTISSA - 1, _SMALLEST) if value else _SMALLEST
    return f"{int(math.ldexp(value, -exponent))}p{exponent:+d}"


def _hexadecimal(value: float, precision: int | None) -> str:
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(math.ldexp(fraction, _MANTISSA + 1)), exponent - 1 if value else 0
    dropped = _MANTISSA - 4 * precision if precision is not None else 0
    if dropped > 0:
        rounded, rest = divmod(mantissa, 1 << dropped)
        half = 1 << (dropped - 1)
        mantissa = (rounded + (rest > half or (rest == half and rounded % 2))) << dropped
        if mantissa >> (_MANTISSA + 1):
            mantissa, exponent = mantissa >> 1, exponent + 1
    digits = f"{mantissa % (1 << _MANTISSA):013x}"
    digits = digits.rstrip("0") if precision is None else digits.ljust(precision, "0")[:precision]
    return f"0x{mantissa >> _MANTISSA}{'.' * bool(digits)}{digits}p{exponent:+03d}"
