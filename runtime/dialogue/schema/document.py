"""Place: a schema within a document, and what it refers to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from .budget import SchemaError

_LONGEST_POINTER = 1 << 12


class Document:
    """A JSON Schema with all that it may refer to."""

    def __init__(self, schema: object, name: str = "") -> None:
        """`name` is what its pointers begin with, before the `#`."""
        self._root = schema
        self._name = name
        identifier = _member(schema, "$id")
        self._identifier = identifier.rstrip("#") if isinstance(identifier, str) else ""
        self._places: dict[str, Place] = {}

    @property
    def root(self) -> Place:
        """The whole schema."""
        return self._place(self._name + "#", self._root)

    def child(self, place: Place, *steps: str | int) -> Place:
        """A schema within another."""
        pointer = f"{place.pointer}/{'/'.join([_escaped(str(step)) for step in steps])}"
        if known := self._places.get(pointer):
            return known
        schema: Any = place.schema
        for step in steps:
            schema = schema[step]
        return self._place(pointer, schema)

    def referred(self, place: Place, keyword: str) -> Place:
        """What a `$ref` means. Raises SchemaError."""
        reference = place.schema[keyword]
        where = f"{place.pointer}/{keyword}"
        if not isinstance(reference, str):
            raise SchemaError(where, '"$ref" must be a text', hint='write it like "#/$defs/name"')
        inner = reference.removeprefix(self._identifier) if self._identifier else reference
        if inner not in ("", "#") and not inner.startswith("#/"):
            raise SchemaError(
                where,
                "it refers to another document or to an anchor",
                hint='copy what it refers to into "$defs" and write "#/$defs/name"',
            )
        if self._is_identified(place):
            raise SchemaError(where, 'it goes out from an "$id" within the schema', hint='remove that "$id"')
        schema = self._root
        pointer = self._name + "#"
        for raw in inner[2:].split("/") if inner[1:] else ():
            step = _unescaped(unquote(raw))
            schema = _member(schema, step)
            if schema is None or len(pointer) > _LONGEST_POINTER:
                raise SchemaError(where, "there is nothing where it refers to", hint="correct the reference")
            pointer += f"/{_escaped(step)}"
        return self._place(pointer, schema)

    def _is_identified(self, place: Place) -> bool:
        """Whether a place, or what it is in, has a name that is not that of the whole document."""
        schema = self._root
        for step in place.pointer[len(self._name) + 2 :].split("/"):
            schema = _member(schema, _unescaped(step))
            if isinstance(_member(schema, "$id"), str):
                return True
        return False

    def _place(self, pointer: str, schema: object) -> Place:
        if pointer not in self._places:
            self._places[pointer] = Place(self, pointer, schema)
        return self._places[pointer]


class Place:
    """A schema and where it stands; there is one for each place."""

    __slots__ = ("_named", "document", "pointer", "schema")

    def __init__(self, document: Document, pointer: str, schema: object) -> None:
        """Raises SchemaError where there is no schema."""
        if not isinstance(schema, Mapping | bool):
            raise SchemaError(pointer, "a schema must be an object or a boolean", hint="correct the schema")
        self._named: dict[str, dict[str, Place]] = {}
        self.document = document
        self.pointer = pointer
        """A JSON pointer."""
        self.schema: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {} if schema else {"enum": []}

    @property
    def is_false(self) -> bool:
        """Whether it is the schema that nothing satisfies."""
        return self.schema == {"enum": []}

    @property
    def is_leaf(self) -> bool:
        """Whether there are no other schemas in it."""
        inner = (value for keyword, value in self.schema.items() if keyword not in ("enum", "const"))
        return not any(isinstance(value, Mapping | list) for value in inner)

    def __repr__(self) -> str:
        return self.pointer

    def at(self, keyword: str) -> str:
        """Where a keyword of it stands."""
        return f"{self.pointer}/{_escaped(keyword)}"

    def get(self, keyword: str) -> Any:
        """A keyword's value, None where there is none."""
        return self.schema.get(keyword)

    def child(self, *steps: str | int) -> Place:
        """A schema within it. Raises SchemaError."""
        return self.document.child(self, *steps)

    def children(self, keyword: str) -> list[Place]:
        """The schemas of a list. Raises SchemaError."""
        if keyword not in self.schema:
            return []
        schemas = self.schema[keyword]
        if not isinstance(schemas, Sequence) or isinstance(schemas, str) or not schemas:
            raise SchemaError(self.at(keyword), "it must be a list of schemas", hint="correct the schema")
        return [self.child(keyword, number) for number in range(len(cast("Sequence[Any]", schemas)))]

    def named(self, keyword: str) -> dict[str, Place]:
        """The schemas of an object, by name. Raises SchemaError."""
        if keyword not in self._named:
            schemas = self.schema.get(keyword, {})
            if not isinstance(schemas, Mapping):
                raise SchemaError(self.at(keyword), "it must be an object of schemas", hint="correct the schema")
            self._named[keyword] = {name: self.child(keyword, name) for name in cast("Mapping[str, Any]", schemas)}
        return self._named[keyword]

    def count(self, keyword: str) -> int | None:
        """A number of things, None where there is none. Raises SchemaError."""
        value = self.schema.get(keyword)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < 0:
            raise SchemaError(self.at(keyword), "it must be a whole number of at least 0", hint="correct the schema")
        return int(value)


def _member(schema: object, step: str) -> object:
    if isinstance(schema, Mapping):
        return cast("Mapping[str, Any]", schema).get(step)
    if isinstance(schema, list) and step.isascii() and step.isdigit() and len(step) < 7:
        return dict(enumerate(cast("list[Any]", schema))).get(int(step))
    return None


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
