"""Verbs: what each of fmt's verbs makes of a value, such as `%v`, `%q` and `%x`. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import strconv
from .errors import TemplateError
from .gotypes import Byte, Struct, Typed, Value, from_bytes, is_nil, to_bytes, type_name

MOST = 1 << 25
"""Characters that one call may make, padding and all."""
_PIECE = 32
"""What each value costs of it besides."""
_ADDRESS = 0x2D0F4A1C8000
"""Where Go has whatever a pointer points to: somewhere else on every run."""
_BASES = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "x": "0x", "X": "0X"}
_REALS = {"v": "g", "g": "g", "G": "g", "b": "b", "x": "x", "X": "x", "f": "f", "F": "f", "e": "e", "E": "e"}
_STRINGABLE = "vsxXq"
"""The verbs for which a type that can print itself is its text."""
_ALL_BITS = (1 << 64) - 1


@dataclass(slots=True)
class Flags:
    """What stands between `%` and the verb."""

    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None
    is_go: bool = False
    """`%#v`: as Go would write it."""
    has_names: bool = False
    """`%+v`: with the names of fields."""


class Printer:
    """Prints values. Raises TemplateError when they come to too much."""

    def __init__(self) -> None:
        self.flags = Flags()
        self._left = MOST
        self._is_complaint = False
        """Whether it says what a verb is wrong for: then no type prints itself."""

    def text(self, value: Value, verb: str = "v") -> str:
        """The text of an argument."""
        if value is None:
            return self._pad("<nil>") if verb in "Tv" else f"%!{verb}(<nil>)"
        if verb == "T":
            return self._pad(type_name(value)[: self.flags.precision])
        if verb == "p":
            return self._address(value, verb)
        return self._value(value, verb, 0)

    def target(self, value: Value) -> str:
        """The text of what a pointer points to."""
        if isinstance(value, Struct) and value.is_pointer and not value.is_nil:
            return self._fields(value, "v", 0)
        return self.text(value)

    def _value(self, value: Value, verb: str, depth: int) -> str:
        if not self._is_complaint:
            if verb == "w":  # only for errors, and no value is one
                return self._bad(value, verb)
            if isinstance(value, Typed) and "String" in value.methods and verb in _STRINGABLE and not self.flags.is_go:
                return self._string(str(value.call("String")), verb)
        match value:
            case str():
                return self._string(value, verb)
            case bool():
                return self._pad(str(value).lower()) if verb in "tv" else self._bad(value, verb)
            case int():
                return self._integer(value, verb)
            case float():
                return self._real(value, verb)
            case None:
                return "interface {}(nil)" if self.flags.is_go else "<nil>"
            case bytes() if verb in "sxXq":
                return self._string(from_bytes(value), verb)
            case Struct():
                if not value.is_pointer:
                    return self._fields(value, verb, depth)
                if depth or value.is_nil:
                    return self._address(value, verb)
                return "&" + self._fields(value, verb, depth + 1)
            case Mapping():
                return self._map(value, verb, depth)
            case bytes():
                return self._listed(value, "[", (self._value(Byte(item), verb, depth + 1) for item in value), "]")
            case _:
                return self._listed(value, "[", (self._value(item, verb, depth + 1) for item in value), "]")

    def _map(self, value: Mapping[str, Value], verb: str, depth: int) -> str:
        items = (
            f"{self._value(key, verb, depth + 1)}:{self._value(item, verb, depth + 1)}"
            for key, item in sorted(value.items())
        )
        return self._listed(value, "map[", items, "]")

    def _fields(self, value: Struct, verb: str, depth: int) -> str:
        names = self.flags.is_go or self.flags.has_names
        items = (f"{name}:" * names + self._value(item, verb, depth + 1) for name, item in value.items())
        return self._listed(value, "{", items, "}")

    def _listed(self, value: Value, opening: str, items: Iterable[str], closing: str) -> str:
        self._spend(_PIECE)
        if not self.flags.is_go:
            return opening + " ".join(items) + closing
        name = type_name(value).lstrip("*")
        return f"{name}(nil)" if is_nil(value) else f"{name}{{{', '.join(items)}}}"

    def _string(self, text: str, verb: str) -> str:
        flags = self.flags
        if verb == "s" or (verb == "v" and not flags.is_go):
            return self._pad(text[: flags.precision])
        if verb in "vq":
            text = text[: flags.precision]
            quoted = strconv.backquote(text) if flags.sharp else None
            return self._pad(quoted or strconv.quote(text, is_ascii=flags.plus))
        if verb in "xX":
            data = to_bytes(text[: flags.precision])[: flags.precision]
            digits = data.hex(" ") if flags.space else data.hex()
            if flags.sharp and data:
                digits = "0x" + digits.replace(" ", " 0x")
            return self._pad(digits.upper() if verb == "X" else digits)
        return self._bad(text, verb)

    def _integer(self, value: int, verb: str) -> str:
        match verb:
            case "v" if isinstance(value, Byte) and self.flags.is_go:
                return self._hexadecimal(value, is_sharp=True)
            case "v":
                return self._digits(value, "d")
            case "c":
                return self._pad(_char(value))
            case "q":
                return self._pad(strconv.quote(_char(value), "'", is_ascii=self.flags.plus))
            case "U":
                return self._unicode(value)
            case _:
                return self._digits(value, verb) if verb in _BASES else self._bad(value, verb)

    def _digits(self, value: int, verb: str) -> str:
        flags = self.flags
        sign = "-" if value < 0 else "+" if flags.plus else " " if flags.space else ""
        digits = format(abs(value), _BASES[verb])
        least = 0
        if flags.precision is not None:
            if value == flags.precision == 0:
                return self._pad("", " ")
            least = flags.precision
        elif flags.zero and not flags.minus and flags.width is not None:
            least = flags.width - len(sign)
        digits = digits.rjust(least, "0")
        if flags.sharp:
            digits = _PREFIXES.get(verb, "0" if _BASES[verb] == "o" and digits[0] != "0" else "") + digits
        return self._pad(sign + "0o" * (verb == "O") + digits, " ")

    def _hexadecimal(self, value: int, *, is_sharp: bool) -> str:
        sharp, self.flags.sharp = self.flags.sharp, is_sharp
        text = self._digits(value, "x")
        self.flags.sharp = sharp
        return text

    def _unicode(self, value: int) -> str:
        code = value & _ALL_BITS
        text = "U+" + f"{code:X}".rjust(max(4, self.flags.precision or 0), "0")
        char = _char(value)
        if self.flags.sharp and code == ord(char) and strconv.is_printable(char):
            text += f" '{char}'"
        return self._pad(text, " ")

    def _real(self, value: float, verb: str) -> str:
        if verb not in _REALS:
            return self._bad(value, verb)
        flags = self.flags
        sign = "-" if math.copysign(1, value) < 0 else "+" if flags.plus else " " if flags.space else ""
        if not math.isfinite(value):
            return self._pad("NaN" if math.isnan(value) else (sign or "+") + "Inf", " ")
        form = _REALS[verb]
        text = strconv.real(abs(value), form, flags.precision)
        if flags.sharp and form != "b":
            least = (6 if flags.precision is None else flags.precision) if verb in "vgGx" else 0
            text = _pointed(text, "p" if form == "x" else "e", least)
        text = text.upper() if verb in "GEX" else text
        if flags.zero and not flags.minus:
            text = text.rjust((flags.width or 0) - len(sign), "0")
        return self._pad(sign + text)

    def _address(self, value: Value, verb: str) -> str:
        is_place = value.is_pointer if isinstance(value, Struct) else not isinstance(value, str | int | float)
        if not is_place or verb not in "vpbodxX":
            return self._bad(value, verb)
        place = 0 if is_nil(value) else _ADDRESS
        if verb not in "vp":
            return self._digits(place, verb)
        if verb == "v" and not place and not self.flags.is_go:
            return self._pad("<nil>")
        is_go = verb == "v" and self.flags.is_go
        text = self._hexadecimal(place, is_sharp=is_go or not self.flags.sharp) if place or not is_go else "nil"
        return f"({type_name(value)})({text})" if is_go else text

    def _bad(self, value: Value, verb: str) -> str:
        """What stands for a value that has no such verb."""
        outer, self._is_complaint = self._is_complaint, True
        text = f"%!{verb}({type_name(value)}={self._value(value, 'v', 0)})"
        self._is_complaint = outer
        return text

    def _pad(self, text: str, fill: str = "") -> str:
        flags = self.flags
        width = flags.width or 0
        self._spend(_PIECE + max(width, len(text)))
        if flags.minus:
            return text.ljust(width)
        return text.rjust(width, fill or ("0" if flags.zero else " "))

    def _spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise TemplateError(f"prints more than {MOST} characters at once")


def _char(code: int) -> str:
    return chr(code) if 0 <= code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"


def _pointed(text: str, mark: str, least: int) -> str:
    """A number with a point, and at least so many digits that count."""
    number, _, power = text.partition(mark)
    known = len(number.replace(".", "").lstrip("0")) or (number == "0")  # the x of 0x counts, in Go too
    number += "." * ("." not in number) + "0" * (least - known)
    return number + mark * bool(power) + power
