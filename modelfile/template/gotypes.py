"""Go's types: what the values of a template are there, as far as a template can tell. Pure.

What JSON can say is Python's own: None, bool, str, list, dict, and float for each of its numbers. An int is what templates
count with. Everything else has a class here, or one of Ollama's in conversation.py and tools.py.

A Go string is bytes. Here it is a str in which a byte that belongs to no character is a surrogate, as PEP 383 has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

Value: TypeAlias = "bool | int | float | str | bytes | Sequence[Value] | Mapping[str, Value] | None"

_HALVES = re.compile("[\ud800-\udfff]")
_NO_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Typed:
    """A value of a type with a name."""

    go: ClassVar[str]
    methods: ClassVar[Mapping[str, Callable[[Any], Value]]] = {}
    """What a template may call, without arguments. A `String` is also how such a value prints itself."""
    is_nil: bool = False

    def call(self, method: str) -> Value:
        """What a method gives. It is asked once: a template may ask often, and the text of tools can be long."""
        results: dict[str, Value] = self.__dict__.setdefault("results", {})
        if method not in results:
            results[method] = self.methods[method](self)
        return results[method]

    @property
    def is_pointer(self) -> bool:
        """Whether it is not the struct itself but where to find it: what is nil, and equal only to itself."""
        return self.go.startswith("*")


class Struct(Typed, dict[str, Value]):
    """A struct: its fields are fixed, so naming another one is an error rather than `<no value>`."""

    go = "struct"
    tags: ClassVar[Mapping[str, str]] = {}
    """The fields' names in JSON, where they are others."""
    optional: ClassVar[frozenset[str]] = frozenset()
    """Fields that JSON leaves out when they are empty."""
    nullable: ClassVar[frozenset[str]] = frozenset()
    """Fields of any type, which JSON leaves out only when they are nil."""


class Map(Typed, dict[str, Value]):
    """A map of a type with a name; from None, the one that is nil."""

    def __init__(self, items: Mapping[str, Value] | None = None) -> None:
        super().__init__(items or {})
        self.is_nil = items is None


class Slice(Typed, list[Value]):
    """A list of one type; from None, the one that is nil."""

    go = "[]interface {}"

    def __init__(self, items: Iterable[Value] | None = None) -> None:
        super().__init__(() if items is None else items)
        self.is_nil = items is None


class Texts(Slice):
    """A list of strings."""

    go = "[]string"


class Bytes(Typed, bytes):
    """A list of bytes; from None, the one that is nil."""

    go = "[]uint8"

    def __new__(cls, data: bytes | None = None) -> Bytes:
        """Bytes take what they hold before they are there."""
        self = super().__new__(cls, data or b"")
        self.is_nil = data is None
        return self


class Byte(Typed, int):
    """One byte of a string or a list of bytes."""

    go = "uint8"


def type_name(value: Value) -> str:
    """The name of a value's type."""
    if isinstance(value, Typed):
        return value.go
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case bytes():
            return Bytes.go
        case Mapping():
            return "map[string]interface {}"
        case None:
            return "<nil>"
        case _:
            return Slice.go


def is_nil(value: Value) -> bool:
    """Whether a value is nil, of whatever type."""
    return value is None or (isinstance(value, Typed) and value.is_nil)


def to_bytes(text: str) -> bytes:
    """The bytes of a text; what was half a character already when it came is U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _NO_BYTES.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """The text of bytes, whatever they are."""
    return data.decode("utf-8", "surrogateescape")


def joined(text: str) -> str:
    """A text put together of others: bytes that have become a character are one."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return from_bytes(to_bytes(text))
    return text


def whole(text: str) -> str:
    """A text for the world outside: U+FFFD for each byte that belongs to no character."""
    return mended(joined(text))


def mended(text: str) -> str:
    """A text without half surrogate pairs: each is U+FFFD."""
    return text if text.isascii() else _HALVES.sub("\ufffd", text)
