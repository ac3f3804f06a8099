"""Sandbox: Jinja for templates that strangers wrote. It bounds turns of loops, calls of macros and sizes of texts. Pure.

Jinja's own sandbox keeps a template away from Python's insides; this one also keeps it from running, or growing, without
end: every loop and macro is made to report its turns, and whatever can multiply text asks the budget first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sized
from typing import Any, cast

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.filters import do_format
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import _PassArg  # pyright: ignore[reportPrivateUsage] - how a filter says what it wants to be given
from jinja2.visitor import NodeTransformer

from .errors import TemplateError

MAX_TEXT = 1 << 20
"""Characters of a template."""
MAX_CHARACTERS = 64 << 20
"""Characters a template may print or put together."""
_TURN = 256
"""What a turn of a loop costs, in characters: a quarter of a million turns use the budget up."""
_MAX_BITS = 1 << 12
_MAX_COUNT = 1 << 20
_MAX_PRODUCT = 1 << 29
_WIDE = re.compile(r"\d{5}|\*")
_SLOW = {"wordwrap", "urlize"}
"""Filters that take longer than their texts are long; no chat template needs them."""
_WRITING = {
    "join",
    "string",
    "tojson",
    "pprint",
    "xmlattr",
    "urlencode",
    "sum",
    "format",
    "sort",
    "unique",
    "groupby",
    "min",
    "max",
}
"""Filters that write, or compare, all that a value holds."""
_COMPARING = {
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "in",
}
"""Tests that compare."""
_ITEM = 16
"""What an item of a list costs that is written or compared, in characters."""
_BUDGET = "corral budget"
"""The context's key, which no template can spell."""


class Budget:
    """What one run of a template may still spend."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS

    def spend(self, characters: int) -> None:
        """Raises TemplateError when the run has used up what it may."""
        self._left -= characters
        if self._left < 0:
            raise TemplateError("chat template: takes too many steps, or too much text")


class _Generation(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}`, which marks the model's own words for training: just its body."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Jinja calls this at the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment with the Hugging Face settings for chat templates."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        extensions = [jinja2.ext.loopcontrols, _Generation]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=_printed)
        known = {name: one for name, one in {**self.filters, **filters}.items() if name not in _SLOW}
        self.filters = {name: _bounded(name, function) for name, function in known.items()}
        self.tests = {name: _comparing(test) if name in _COMPARING else test for name, test in self.tests.items()}
        del self.globals["lipsum"]

    def compiled(self, text: str) -> jinja2.Template:
        """The template, with its loops and macros made to report. Raises TemplateError, jinja2.TemplateSyntaxError."""
        if len(text) > MAX_TEXT:
            raise TemplateError(f"chat template: {len(text)} characters, at most {MAX_TEXT} are read")
        tree = self.parse(text)
        _Reporting().visit(tree)
        tree.set_environment(self)
        return self.from_string(tree)

    def run(self, template: jinja2.Template, variables: dict[str, Any], budget: Budget) -> str:
        """The template's text, within what is left of the budget."""
        return template.render({**variables, _BUDGET: budget})

    def call(self, /, context: Context, called: Any, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore
        """A call that a template makes."""
        owner: object = getattr(called, "__self__", None)
        _check_growth(owner, *args, *kwargs.values())
        if isinstance(owner, str | list | tuple):  # its method writes, or compares, all that these hold
            operands: list[Any] = [owner, *args] if args else []
            for operand in operands:
                _weighed(context, operand)
        result = super().call(context, called, *args, **kwargs)
        context[_BUDGET].spend(_size(result))
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Jinja's safe form of `str.format`, when `value` is that method."""
        wrapped = super().wrap_str_format(value)
        if wrapped:
            _check_format(value.__self__)
        return wrapped

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operation that can make much out of little."""
        match operator, left, right:
            case ("*" | "**", int(), int()):
                factor = max(right, 0) if operator == "**" else 1
                bits = left.bit_length() * factor + right.bit_length()
                if bits > _MAX_BITS:
                    raise TemplateError("chat template: a number grows too large")
            case "*", int(), _:
                context[_BUDGET].spend(_size(right) * max(left, 0))
            case "*", _, int():
                context[_BUDGET].spend(_size(left) * max(right, 0))
            case "%", str(), _:
                _check_format(left)
            case "+", _, _:
                context[_BUDGET].spend(_size(left) + _size(right))
            case _:
                pass
        return super().call_binop(context, operator, left, right)


class _Reporting(NodeTransformer):
    """Puts a report at the start of each loop's and macro's body, and makes `~` a call."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return self._reporting(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._reporting(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        return self._reporting(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call(_joined, node.nodes, node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _call(_weighed, [node.expr], node.lineno)
        for operand in node.ops:
            operand.expr = _call(_weighed, [operand.expr], node.lineno)
        return node

    def _reporting(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        text = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        turn = _call(_turn, [nodes.Const(_TURN + text)], node.lineno)
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        return node


def _call(function: Callable[..., Any], arguments: list[nodes.Expr], line: int) -> nodes.Expr:
    return nodes.Call(nodes.ImportedName(f"{__name__}.{function.__name__}"), arguments, [], None, None, lineno=line)


@jinja2.pass_context
def _turn(context: Context, cost: int) -> None:
    context[_BUDGET].spend(cost)


@jinja2.pass_context
def _weighed(context: Context, value: Any) -> Any:
    """What is to be compared, which is done item by item."""
    if isinstance(value, list | tuple | dict):
        context[_BUDGET].spend(_weight(cast("object", value)))
    return cast("object", value)


@jinja2.pass_context
def _joined(context: Context, *items: Any) -> str:
    context[_BUDGET].spend(sum(map(_weight, items)))
    return "".join(map(str, items))


@jinja2.pass_context
def _printed(context: Context, value: Any) -> str:
    context[_BUDGET].spend(_weight(value))
    return str(value)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that spends what it reads and gives."""
    passed = getattr(function, "jinja_pass_arg", None)

    @jinja2.pass_context
    def bounded(context: Context, *args: Any, **kwargs: Any) -> Any:
        _check_growth(*args, *kwargs.values())
        if function is do_format:
            _check_format(args[0])
        context[_BUDGET].spend(sum(map(_weight if name in _WRITING else _size, args)))
        match passed:
            case None:
                result = function(*args, **kwargs)
            case _PassArg.context:
                result = function(context, *args, **kwargs)
            case _PassArg.eval_context:
                result = function(context.eval_ctx, *args, **kwargs)
            case _:
                result = function(context.environment, *args, **kwargs)
        context[_BUDGET].spend(_size(result))
        return result

    return bounded


def _comparing(test: Callable[..., bool]) -> Callable[..., bool]:
    """A test that spends what it compares."""

    @jinja2.pass_context
    def comparing(context: Context, *operands: Any) -> bool:
        return test(*(_weighed(context, operand) for operand in operands))

    return comparing


def _check_growth(*operands: Any) -> None:
    """Refuse what would multiply two large things: a text by a width, a separator by a list, a pattern by its matches."""
    counts = [abs(operand) for operand in operands[1:] if isinstance(operand, int)]
    sizes = sorted([1, 1, *counts, *map(_size, operands)])
    if max(counts, default=0) > _MAX_COUNT or sizes[-1] * sizes[-2] > _MAX_PRODUCT:
        raise TemplateError("chat template: an argument is too large")


def _check_format(form: object) -> None:
    if isinstance(form, str) and _WIDE.search(form):
        raise TemplateError("chat template: a format is too wide")


def _weight(value: object) -> int:
    """The characters of all that a value holds, and its items; counted no further than a run may spend."""
    weight, rest = 0, [value]
    while rest and weight <= MAX_CHARACTERS:
        one = rest.pop()
        weight += _ITEM
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, list | tuple):
            rest.extend(cast("list[object]", one))
        elif isinstance(one, dict):
            for pair in cast("dict[object, object]", one).items():
                rest.extend(pair)
    return weight


def _size(value: object) -> int:
    return len(cast("Sized", value)) if isinstance(value, str | list | tuple) else 1
