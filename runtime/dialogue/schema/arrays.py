"""Arrays of a schema. Pure."""

from __future__ import annotations

from collections.abc import Callable

from .apart import items_at
from .automaton import Call, Net
from .budget import unenforceable
from .document import Place
from .grammar import BLANKS
from .shape import Shape
from .site import Site
from .validity import tuple_items

_MOST_ITEMS = 1000
Write = Callable[[int, tuple[Place, ...]], int]
"""Adds a value of some schemas to the net from a state on; the state where it ends."""
More = Callable[[tuple[Place, ...]], Call]
"""The rule of a comma and such a value."""


def add_array(site: Site, write: Write, more: More) -> None:
    """Add the arrays of a shape. Raises SchemaError."""
    net, target, shape = site.net, site.target, site.shape
    low, high = shape.least("minItems"), shape.most("maxItems")
    if low > _MOST_ITEMS:
        raise unenforceable(shape.having("minItems")[0].at("minItems"), "minItems", f"it is more than {_MOST_ITEMS}")
    tuples = [tuple_items(place)[0] for place in shape.places]
    fixed = max(map(len, tuples), default=0)
    is_closed = any(place.is_false for place in items_at(shape, fixed))
    most = min(_MOST_ITEMS if high is None else high, fixed if is_closed else _MOST_ITEMS)
    witnesses, first_witness = _witnesses(shape), 0 if is_closed else fixed
    low = max(low, first_witness + len(witnesses)) if witnesses else low
    if low > most:
        return
    begun = net.call(net.text(site.source, "["), BLANKS)
    if not low:
        net.skip(net.text(begun, "]"), target)
    written = begun
    fixed = max(fixed, first_witness + len(witnesses))
    for number in range(min(fixed, most)):
        places = items_at(shape, number)
        if first_witness <= number < first_witness + len(witnesses):
            places = (*places, witnesses[number - first_witness])
        written = write(written if number == 0 else net.call(net.text(written, ","), BLANKS), places)
        if number + 1 >= low:
            _close(net, written, target)
    if fixed >= most:
        return
    count = fixed
    places = items_at(shape, fixed)
    if not count:
        written, count = write(begun, places), 1
    call = more(places)
    _close(net, written, target) if count >= low else None
    left = max(1, low - count)
    if high is None or count + left <= most:
        _close(net, net.call(written, Call(call.rule, left, None if high is None else most - count)), target)


def _close(net: Net, written: int, target: int) -> None:
    net.skip(net.text(net.call(written, BLANKS), "]"), target)


def _witnesses(shape: Shape) -> list[Place]:
    """What `contains` wants, as often as it does; these items come first."""
    found: list[Place] = []
    for place in shape.having("contains"):
        least = place.count("minContains")
        if "maxContains" in place.schema:
            raise unenforceable(place.at("maxContains"), "maxContains", "the other items would have to differ")
        if (least is None or least > 0) and found:
            raise unenforceable(place.at("contains"), "contains", "another schema here has one, too")
        if (1 if least is None else least) > _MOST_ITEMS:
            raise unenforceable(place.at("minContains"), "minContains", f"it is more than {_MOST_ITEMS}")
        found = [place.child("contains")] * (1 if least is None else least)
    return found
