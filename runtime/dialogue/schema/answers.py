"""What an answer is to be: some JSON, a value of a schema, or the call of a tool. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from ....store.errors import InputError, shown
from .budget import SchemaError
from .compiler import Compiler
from .document import Document, Place
from .grammar import BLANKS, OBJECT
from .literals import string_text

_MOST_VALUES, _DEEPEST, _MOST_BITS = 50_000, 100, 1 << 12


@cache
def json_grammar() -> str:
    """The grammar of any JSON object."""
    compiler = Compiler()
    net = compiler.net()
    start = net.state()
    return compiler.text(net.automaton(start, net.call(start, OBJECT)), "#")


def schema_grammar(schema: object) -> str:
    """The grammar of the values of a JSON Schema.

    Raises SchemaError, an InputError, that names what cannot be enforced, where it stands, and what to do about it.
    """
    _check_size(schema, "#")
    compiler = Compiler()
    net = compiler.net()
    start = net.state()
    end = net.call(start, compiler.call([Document(schema).root]))
    return compiler.text(net.automaton(start, end), "#")


def call_grammar(tools: Sequence[Mapping[str, Any]], *, name: str = "") -> str:
    """The grammar of a call of one of the tools, or of that with this name.

    Tools are in the API's shape or bare functions. Raises InputError, SchemaError.
    """
    offered = {function["name"]: function for function in map(function_of, tools)}
    if name and name not in offered:
        raise InputError(f"tool {shown(name)}: it is not among the tools", hint="offer it, or let the model choose")
    if not offered:
        raise InputError("tools: there are none to call", hint="offer at least one")
    compiler = Compiler()
    net = compiler.net()
    start, end = net.state(), net.state()
    begun = net.call(net.text(net.call(net.text(start, "{"), BLANKS), '"name":'), BLANKS)
    for called in [name] if name else offered:
        pointer = f"{called}/parameters#"
        _check_size(offered[called].get("parameters"), pointer)
        named = net.call(net.text(net.text(begun, string_text(called)), ","), BLANKS)
        given = net.call(net.text(named, '"arguments":'), BLANKS)
        arguments = net.call(given, compiler.call(_parameters(offered[called], called)))
        net.skip(net.text(net.call(arguments, BLANKS), "}"), end)
    return compiler.text(net.automaton(start, end), "#")


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function that a tool is; some clients give it by itself. Raises InputError where it has no name."""
    function = tool.get("function", tool)
    named: object = cast("Mapping[str, Any]", function).get("name") if isinstance(function, Mapping) else None
    if not isinstance(named, str) or not named:
        raise InputError("tools: one has no name", hint='a tool is {"type": "function", "function": {"name": …}}')
    return cast("Mapping[str, Any]", function)


def _parameters(function: Mapping[str, Any], name: str) -> list[Place]:
    """What the arguments of a function satisfy: they are an object, an empty one if nothing is said of them."""
    stated: object = function.get("parameters") or {"properties": dict[str, object]()}
    return [Document(schema, f"{name}/parameters").root for schema in (stated, {"type": "object"})]


def _check_size(schema: object, pointer: str) -> None:
    """Raises SchemaError for what is nested too deeply to be looked at, or too large."""
    count, level = 0, [schema]
    for _ in range(_DEEPEST):
        below: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                below += cast("Mapping[str, object]", value).values()
            elif isinstance(value, list):
                below += cast("list[object]", value)
            elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise SchemaError(pointer, "a number has too many digits", hint="use a smaller number")
        count += len(below)
        if not below or count > _MOST_VALUES:
            break
        level = below
    else:
        raise SchemaError(pointer, f"it has more than {_DEEPEST} levels", hint='use "$ref" for what is nested')
    if count > _MOST_VALUES:
        raise SchemaError(pointer, f"it has more than {_MOST_VALUES} values", hint="use a smaller schema")
