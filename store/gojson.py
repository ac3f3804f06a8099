"""JSON exactly as Go's json.Encoder writes it, because Ollama's blob digests are digests of those bytes.

Compact, `<` `>` `&` U+2028 U+2029 escaped, shortest float form, a trailing newline (Go 1.22 and later, which also writes
`\\b` and `\\f`). Struct fields keep the order of the mapping given; for Go maps the caller sorts (`sort_keys=True`). Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_ESCAPED = re.compile('[\\x00-\\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_EXACT_FLOAT = 2**53


def encode(value: Json, *, sort_keys: bool = False) -> bytes:
    """`value` as one line of Go's JSON, newline included. Raises ValueError for NaN and infinities."""
    return (_value(value, sort_keys=sort_keys) + "\n").encode()


def quote(text: str) -> str:
    """`text` as a Go JSON string, with its quotes. Half a surrogate pair has no UTF-8 and becomes `\\ufffd`."""
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or f"\\u{0xFFFD if 0xD800 <= code <= 0xDFFF else code:04x}"


def number(value: float) -> str:
    """A number as Go prints a float64: whole numbers plainly, exponents only below 1e-6 and from 1e21.

    Ollama's server reads every JSON number into a float64, so an integer beyond 2**53 is rounded as it would be there.
    """
    if isinstance(value, int) and abs(value) <= _EXACT_FLOAT:
        return str(value)
    try:
        real = float(value)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise ValueError(f"{real} has no JSON form")
    if real == 0:
        return "-0" if math.copysign(1, real) < 0 else "0"
    if 1e-6 <= abs(real) < 1e21:
        return f"{Decimal(repr(real)):f}".removesuffix(".0")
    mantissa, _, exponent = f"{Decimal(repr(real)):e}".lower().partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    sign, digits = exponent[0], exponent[1:]
    return f"{mantissa}e{sign}{digits if sign == '-' else digits.zfill(2)}"


def _value(value: Json, *, sort_keys: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case str():
            return quote(value)
        case Mapping():
            items = sorted(value.items()) if sort_keys else value.items()
            return "{" + ",".join(f"{quote(k)}:{_value(v, sort_keys=sort_keys)}" for k, v in items) + "}"
        case _:
            return "[" + ",".join(_value(item, sort_keys=sort_keys) for item in value) + "]"
