"""Tools: as a request describes them, and as the values Go templates see. Pure.

Names of types and fields, and their order, are those of Ollama (api/types.go, template/template.go, v0.33): templates print
them. What prints itself as JSON there does so here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .decode import Fields, plain, text
from .gotypes import Bytes, Map, Slice, Struct, Texts, Value
from .values import json, sprint

_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


class Tools(Slice):
    """All tools."""

    go = "template.templateTools"
    methods: ClassVar = {"String": json}


class Tool(Struct):
    """A tool."""

    go = "template.templateTool"
    methods: ClassVar = {"String": json}
    tags: ClassVar = {"Type": "type", "Items": "items", "Function": "function"}
    nullable = frozenset({"Items"})


class Function(Struct):
    """What a tool calls."""

    go = "template.templateToolFunction"
    tags: ClassVar = {"Name": "name", "Description": "description", "Parameters": "parameters"}


class Parameters(Struct):
    """A function's parameters."""

    go = "template.templateToolFunctionParameters"
    tags: ClassVar = {
        "Type": "type",
        "Defs": "$defs",
        "Items": "items",
        "Required": "required",
        "Properties": "properties",
    }
    optional = frozenset({"Required"})
    nullable = frozenset({"Defs", "Items"})


class PropertyMap(Map):
    """Properties by their names; one that is not there is an empty one."""

    go = "map[string]api.ToolProperty"

    def __missing__(self, name: str) -> Value:
        # A template that says `.String` asks for a name as any, until it turns out to be none.
        return self.call(name) if name in self.methods else Property.read(None)


class Properties(PropertyMap):
    """The properties of a function's parameters."""

    go = "template.templateProperties"
    methods: ClassVar = {"String": lambda self: "{}" if self.is_nil else json(self)}


class Nested(Struct):
    """The properties of a property: a pointer to a map that keeps its order, whose fields no template sees."""

    go = "*api.ToolPropertiesMap"
    methods: ClassVar = {
        "Len": lambda self: len(self.properties),
        "ToMap": lambda self: self.properties,
        "MarshalJSON": lambda self: Bytes(self.ordered_json().encode()),
    }

    def __init__(self, properties: PropertyMap) -> None:
        super().__init__()
        self.properties = properties
        self.is_nil = properties.is_nil

    def ordered_json(self) -> str:
        """In the order of the request."""
        return "{" + ",".join(f"{json(name)}:{json(item)}" for name, item in self.properties.items()) + "}"


class Kinds(Slice):
    """The types a property may have: one prints as itself, several as a list."""

    go = "api.PropertyType"
    methods: ClassVar = {
        "String": lambda self: self[0] if len(self) == 1 else sprint(list(self)) if self else "",
        "MarshalJSON": lambda self: Bytes(json(self[0] if len(self) == 1 else list(self)).encode()),
    }


class Alternatives(Slice):
    """The properties one of which a property may be."""

    go = "[]api.ToolProperty"


class Property(Struct):
    """One parameter."""

    go = "api.ToolProperty"
    methods: ClassVar = {"ToTypeScriptType": lambda self: self.typescript()}
    tags: ClassVar = {
        "AnyOf": "anyOf",
        "Type": "type",
        "Items": "items",
        "Description": "description",
        "Enum": "enum",
        "Properties": "properties",
        "Required": "required",
    }
    optional = frozenset({"AnyOf", "Type", "Description", "Enum", "Properties", "Required"})
    nullable = frozenset({"Items"})

    @classmethod
    def read(cls, value: Any) -> Property:
        """From a request. Raises TemplateError for what is none."""
        given = Fields(value, "a tool's property")
        is_one = "type" in given and not isinstance(given.any("type"), list | tuple)
        return cls(
            AnyOf=Alternatives(given.list("anyOf", cls.read)),
            Type=Kinds([given.text("type")] if is_one else given.list("type", text)),
            Items=plain(given.any("items")),
            Description=given.text("description"),
            Enum=Slice(given.list("enum", plain)),
            Properties=Nested(PropertyMap(_properties(given))),
            Required=Texts(given.list("required", text)),
        )

    def typescript(self) -> str:
        """Its type in TypeScript."""
        either, kinds = self["AnyOf"], self["Type"]
        assert isinstance(either, Alternatives)
        assert isinstance(kinds, Kinds)
        if either:
            return " | ".join(one.typescript() for one in either if isinstance(one, Property))
        return " | ".join(_TYPESCRIPT.get(str(kind), "any") for kind in kinds) or "any"


def read_tools(tools: Sequence[Mapping[str, Any]] | None) -> Tools:
    """The tools that Go templates see; nil for None. Raises TemplateError for what is no tool."""
    return Tools(None if tools is None else map(_tool, tools))


def _tool(value: Any) -> Tool:
    given = Fields(value, "a tool")
    function = Fields(given.any("function"), "'function'")
    parameters = Fields(function.any("parameters"), "'parameters'")
    return Tool(
        Type=given.text("type"),
        Items=plain(given.any("items")),
        Function=Function(
            Name=function.text("name"),
            Description=function.text("description"),
            Parameters=Parameters(
                Type=parameters.text("type"),
                Defs=plain(parameters.any("$defs")),
                Items=plain(parameters.any("items")),
                Required=Texts(parameters.list("required", text)),
                Properties=Properties(_properties(parameters)),
            ),
        ),
    )


def _properties(owner: Fields) -> dict[str, Value] | None:
    given = owner.mapping("properties")
    return None if given is None else {text(str(name)): Property.read(value) for name, value in given.items()}
