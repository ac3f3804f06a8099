"""Numerals: how integers and numbers within bounds are written, as automata over their characters. Pure.

A number has few digits, so that it ends; so few, too, that two of them are never the same number to a reader that has 64
bits for it. With bounds or multiples it has no exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from functools import lru_cache, reduce

from .automaton import Automaton, Row, both
from .budget import Budget
from .codepoints import points
from .pattern import exactly

INTEGER_DIGITS, DIGITS = 18, 15
_MOST_DIGITS = 40
_MOST_REMAINDERS, _MOST_STATES = 1000, 64
_MANY_STATES, _FEWER_DIGITS = 16, 9
_PART = r"(\.\d+)?"
_ANY = rf"\d+{_PART}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A number that others are compared to."""

    value: Decimal
    is_lower: bool
    is_strict: bool
    """Whether the number itself is out."""

    def admits(self, value: Decimal) -> bool:
        """Whether a number keeps to it."""
        return not self.is_strict if value == self.value else (value > self.value) == self.is_lower

    def rounded(self, places: int) -> Bound:
        """What the bound means for numbers with so many decimal places."""
        with localcontext(prec=_MOST_DIGITS + places + 2):
            rounding = ROUND_CEILING if self.is_lower else ROUND_FLOOR
            value = self.value.quantize(Decimal(1).scaleb(-places), rounding)
        return Bound(value, is_lower=self.is_lower, is_strict=self.is_strict and value == self.value)


def numerals(
    bounds: Sequence[Bound], steps: Sequence[Decimal], *, is_integer: bool, budget: Budget
) -> Automaton | None:
    """All numbers within the bounds that are multiples of each step; None where they are too long to be enforced."""
    bounds = [bound for bound in bounds if _digits(bound) <= _MOST_DIGITS or (bound.value > 0) == bound.is_lower]
    whole = max(map(_digits, bounds), default=1)
    if whole > _MOST_DIGITS:
        return None
    multiples = [machine for step in steps if (machine := _multiples(step)) is not None]
    if len(multiples) < len(steps):
        return None
    usual = INTEGER_DIGITS if is_integer else DIGITS
    digits = max(whole, _FEWER_DIGITS if any(len(machine.rows) > _MANY_STATES for machine in multiples) else usual)
    # Next to a bound that is out, a number with more digits would be read as the bound itself.
    near = max((_digits(bound) for bound in bounds if bound.is_strict), default=1)
    places = 0 if is_integer else max(0, DIGITS - 1 - near)
    machines = [exactly(rf"-?(0|[1-9]\d{{0,{digits - 1}}})" + (rf"(\.\d{{1,{places}}})?" if places else ""))]
    machines += [_within(bound.rounded(places)) for bound in bounds]
    return reduce(lambda one, other: both(one, other, budget), machines + multiples)


def _digits(bound: Bound) -> int:
    return max(1, bound.value.adjusted() + 1)


@lru_cache(256)
def _within(bound: Bound) -> Automaton:
    """All decimals that keep to a bound."""
    whole, _, part = f"{abs(bound.value):f}".partition(".")
    part = part.rstrip("0")
    sign, other = ("", "-") if bound.is_lower else ("-", "")
    if bound.value == 0 and not bound.is_strict:
        return exactly(_ANY if bound.is_lower else rf"-{_ANY}|0(\.0+)?")
    if bound.value == 0:
        return exactly(sign + _above("0", "", is_strict=True))
    if (bound.value > 0) == bound.is_lower:
        return exactly(sign + _above(whole, part, is_strict=bound.is_strict))
    return exactly(rf"{sign}{_ANY}|{other}{_below(whole, part, is_strict=bound.is_strict)}")


def _above(whole: str, part: str, *, is_strict: bool) -> str:
    """The pattern of all decimals without sign that are no less; with `is_strict` none is equal."""
    found = [rf"[1-9]\d{{{len(whole)},}}{_PART}"]
    for at, digit in enumerate(whole):
        if digit < "9":
            found.append(rf"{whole[:at]}[{chr(ord(digit) + 1)}-9]\d{{{len(whole) - at - 1}}}{_PART}")
    found += [rf"{whole}\.{part[:at]}[{chr(ord(digit) + 1)}-9]\d*" for at, digit in enumerate(part) if digit < "9"]
    if is_strict:
        found.append(rf"{whole}\.{part}\d*[1-9]\d*")
    else:
        found.append(rf"{whole}\.{part}\d*" if part else f"{whole}{_PART}")
    return "(" + "|".join(found) + ")"


def _below(whole: str, part: str, *, is_strict: bool) -> str:
    """The pattern of all decimals without sign that are no more; with `is_strict` none is equal."""
    found: list[str] = []
    if len(whole) > 1:
        found.append(rf"(0|[1-9]\d{{0,{len(whole) - 2}}}){_PART}")
    for at, digit in enumerate(whole):
        lowest = "1" if at == 0 and len(whole) > 1 else "0"
        if digit > lowest:
            found.append(rf"{whole[:at]}[{lowest}-{chr(ord(digit) - 1)}]\d{{{len(whole) - at - 1}}}{_PART}")
    if part:
        found.append(whole)
        found += [rf"{whole}\.{part[:at]}[0-{chr(ord(digit) - 1)}]\d*" for at, digit in enumerate(part) if digit > "0"]
        found += [rf"{whole}\.{part[:at]}0*" for at in range(1, len(part))]
    if not is_strict:
        found.append(rf"{whole}\.{part}0*" if part else rf"{whole}(\.0+)?")
    return "(" + "|".join(found or ["[]"]) + ")"


@lru_cache(64)
def _multiples(step: Decimal) -> Automaton | None:
    """All decimals that are multiples: their digits, the point left out, have no remainder. None if there are too many."""
    step = step.normalize()
    places = max(0, -int(step.as_tuple().exponent))
    if step <= 0 or places > DIGITS or step.adjusted() > DIGITS:
        return None
    divisor = int(step * 10**places)
    if divisor * (places + 1) > _MOST_REMAINDERS:
        return None
    # State 0 has read nothing, state 1 a sign; then come the remainders before the point, and after each decimal place.
    digits = [points(str(digit)) for digit in range(10)]

    def steps(remainder: int, place: int) -> Row:
        first = 2 + place * divisor
        return tuple((points_, first + (remainder * 10 + digit) % divisor) for digit, points_ in enumerate(digits))

    rows: list[Row] = [((points("-"), 1), *steps(0, 0)), steps(0, 0)]
    for place in range(places + 2 if places else 1):
        for remainder in range(divisor):
            row = steps(remainder, place + (place > 0)) if place <= places else ()
            rows.append((*row, (points("."), 2 + divisor + remainder)) if places and not place else row)
    ends = {
        2 + place * divisor + remainder
        for place in range(places + 2 if places else 1)
        for remainder in range(divisor)
        if place != 1 and remainder * 10 ** (places - max(0, place - 1)) % divisor == 0
    }
    machine = Automaton(tuple(rows), frozenset(ends)).tidy()
    return machine if len(machine.rows) <= _MOST_STATES else None
