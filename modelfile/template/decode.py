"""Decode: what Go's encoding/json makes of a request, field by field. Pure.

Names are taken in any case, null says nothing, and what has the wrong type is refused. Half a surrogate pair is U+FFFD.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from .errors import TemplateError
from .gotypes import Value, mended

_INT = 1 << 63
_LINES = str.maketrans("", "", "\r\n")
_T = TypeVar("_T")


class Fields:
    """The fields of an object; null has none."""

    def __init__(self, value: Any, what: str) -> None:
        given: Mapping[str, Any] = {} if value is None else mapping(value, what)
        self._given = {str(name).casefold(): item for name, item in given.items() if item is not None}
        self._named = {str(name).casefold() for name in given}

    def __contains__(self, name: str) -> bool:
        """Whether the field is there, be it null."""
        return name.casefold() in self._named

    def any(self, name: str) -> Any:
        """The field as it is, None where there is none."""
        return self._given.get(name.casefold())

    def text(self, name: str) -> str:
        """A string."""
        return text(self.any(name), name)

    def whole(self, name: str) -> int:
        """An integer."""
        value = self.any(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or not -_INT <= value < _INT:
            raise TemplateError(f"{name!r} is an integer")
        return value

    def list(self, name: str, read: Callable[[Any], _T]) -> list[_T] | None:
        """A list of what `read` reads, None where there is none."""
        value = self.any(name)
        if value is not None and not isinstance(value, list | tuple):
            raise TemplateError(f"{name!r} is a list")
        return None if value is None else [read(item) for item in cast("list[Any]", value)]

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """An object of any names, None where there is none."""
        value = self.any(name)
        return None if value is None else mapping(value, f"{name!r}")


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """An object. Raises TemplateError for anything else."""
    if not isinstance(value, Mapping):
        raise TemplateError(f"{what} is an object")
    return cast("Mapping[str, Any]", value)


def text(value: Any, what: str = "a text") -> str:
    """A string; null is an empty one. Raises TemplateError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TemplateError(f"{what!r} is a text")
    return mended(value)


def octets(value: Any) -> bytes | None:
    """Bytes in base64. Raises TemplateError for anything else."""
    try:
        return None if value is None else b64decode(text(value, "images").translate(_LINES), validate=True)
    except ValueError:
        raise TemplateError("an image is no base64") from None


def plain(value: Any) -> Value:
    """Anything: every number is a float64. Raises TemplateError for what JSON cannot say."""
    match value:
        case bool() | None:
            return value
        case str():
            return text(value)
        case int() | float():
            try:
                real = float(value)
            except OverflowError:
                real = math.inf
            if not math.isfinite(real):
                raise TemplateError("a number is too large")
            return real
        case list() | tuple():
            return [plain(item) for item in cast("list[Any]", value)]
        case Mapping():
            return plain_object(cast("Mapping[Any, Any]", value))
        case _:
            raise TemplateError(f"{type(value).__name__} is no value of JSON")


def plain_object(given: Mapping[Any, Any]) -> dict[str, Value]:
    """An object of anything."""
    return {text(str(name)): plain(item) for name, item in given.items()}
