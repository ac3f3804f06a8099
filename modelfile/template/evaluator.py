"""Compile: a template's tree to closures, and run them. Pure.

A compiled node writes to `state.out`; a compiled expression returns a value. Variables live on one stack, as in Go: a
control structure drops what was declared inside it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from lark import Token, Tree

from .errors import TemplateError
from .functions import Function
from .values import Struct, Value, show, truth

MAX_OUTPUT = 64 << 20
"""Characters a template may print."""
_MAX_DEPTH = 200


class State:
    """One run of a template."""

    def __init__(self, data: Value) -> None:
        self.dot = data
        self.variables: list[tuple[str, Value]] = [("$", data)]
        self.out: list[str] = []
        self.depth = 0
        self._size = 0

    def write(self, text: str) -> None:
        """Print, within bounds."""
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise TemplateError(f"prints more than {MAX_OUTPUT} characters")
        self.out.append(text)


Node: TypeAlias = Callable[[State], None]
Expression: TypeAlias = Callable[[State], Value]


class _BreakError(Exception):
    """`{{ break }}`."""


class _ContinueError(Exception):
    """`{{ continue }}`."""


class Compiler:
    """Makes closures of trees; `templates` fills up with what define and block name."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self.templates: dict[str, Node] = {}

    def nodes(self, tree: Tree[Token]) -> Node:
        """A list of nodes as one."""
        compiled = [self._node(child) for child in _trees(tree)]

        def run(state: State) -> None:
            for node in compiled:
                node(state)

        return run

    def _node(self, tree: Tree[Token]) -> Node:
        match tree.data:
            case "text":
                text = str(tree.children[0])
                return lambda state: state.write(text)
            case "action":
                return self._action(_trees(tree)[0])
            case "if_" | "else_if":
                return self._branch(tree, sets_dot=False)
            case "with_" | "else_with":
                return self._branch(tree, sets_dot=True)
            case "else_":
                return self.nodes(_trees(tree)[0])
            case "range_":
                return self._range(tree)
            case "define":
                self.templates[_string(tree.children[0])] = self.nodes(_trees(tree)[0])
                return lambda _: None
            case "block":
                pipeline, body = _trees(tree)
                name = _string(tree.children[0])
                self.templates.setdefault(name, self.nodes(body))
                return self._call(name, self._expression(pipeline))
            case "call_template":
                arguments = _trees(tree)
                return self._call(
                    _string(tree.children[0]), self._expression(arguments[0]) if arguments else lambda _: None
                )
            case "break_":
                return _raiser(_BreakError)
            case _:
                return _raiser(_ContinueError)

    def _action(self, tree: Tree[Token]) -> Node:
        value = self._expression(tree)
        if tree.data in ("declare", "assign"):
            return lambda state: _ignore(value(state))
        return lambda state: state.write(show(value(state)))

    def _branch(self, tree: Tree[Token], *, sets_dot: bool) -> Node:
        condition, body, *otherwise = _trees(tree)
        test, then = self._expression(condition), self.nodes(body)
        other = self._node(otherwise[0]) if otherwise else None

        def run(state: State) -> None:
            mark, dot = len(state.variables), state.dot
            value = test(state)
            if truth(value):
                if sets_dot:
                    state.dot = value
                then(state)
            elif other:
                other(state)
            state.dot = dot
            del state.variables[mark:]

        return run

    def _range(self, tree: Tree[Token]) -> Node:
        clause, body, *otherwise = _trees(tree)
        names = [
            _variable_name(token) for token in clause.children if isinstance(token, Token) and token.type == "VARIABLE"
        ]
        assigns = any(isinstance(token, Token) and token.type == "ASSIGN" for token in clause.children)
        items, each = self._expression(_trees(clause)[0]), self.nodes(body)
        other = self._node(otherwise[0]) if otherwise else None

        def bind(state: State, key: Value, value: Value) -> None:
            bound = [value] if len(names) == 1 else [key, value]
            for name, item in zip(names, bound, strict=False):
                _assign(state, name, item) if assigns else state.variables.append((name, item))

        def run(state: State) -> None:
            mark, dot = len(state.variables), state.dot
            pairs = _pairs(items(state))
            for key, value in pairs:
                inner = len(state.variables)
                state.dot = value
                bind(state, key, value)
                try:
                    each(state)
                except _ContinueError:
                    pass
                except _BreakError:
                    break
                finally:
                    del state.variables[inner:]
            state.dot = dot
            if not pairs and other:
                other(state)
            del state.variables[mark:]

        return run

    def _call(self, name: str, argument: Expression) -> Node:
        def run(state: State) -> None:
            body = self.templates.get(name)
            if body is None:
                raise TemplateError(f"template {name!r} not defined")
            if state.depth >= _MAX_DEPTH:
                raise TemplateError(f"template {name!r} calls itself too deeply")
            dot, variables = state.dot, state.variables
            state.dot = argument(state)
            state.variables = [("$", state.dot)]
            state.depth += 1
            body(state)
            state.depth -= 1
            state.dot, state.variables = dot, variables

        return run

    def _expression(self, tree: Tree[Token]) -> Expression:
        match tree.data:
            case "declare" | "assign":
                name, value = _variable_name(tree.children[0]), self._expression(_trees(tree)[0])
                declares = tree.data == "declare"

                def run(state: State) -> Value:
                    result = value(state)
                    state.variables.append((name, result)) if declares else _assign(state, name, result)
                    return result

                return run
            case "pipeline":
                first, *others = _trees(tree)
                value = self._command(first, None)
                for command in others:
                    value = self._command(command, value)
                return value
            case _:
                return self._operand(tree)

    def _command(self, tree: Tree[Token], piped: Expression | None) -> Expression:
        first, *rest = _trees(tree)
        arguments = [self._expression(argument) for argument in rest] + ([piped] if piped else [])
        if first.data == "function":
            return self._function(str(first.children[0]), arguments, first)
        if arguments:
            raise TemplateError("can't give argument to non-function", line=_line(first))
        return self._expression(first)

    def _function(self, name: str, arguments: list[Expression], tree: Tree[Token]) -> Expression:
        if name in ("and", "or"):
            if not arguments:
                raise TemplateError(f"wrong number of args for {name}", line=_line(tree))
            return _shortcut(arguments, stops_at=name == "or")
        function = self._functions.get(name)
        line = _line(tree)
        if function is None:
            raise TemplateError(f'function "{name}" not defined', line=line)

        def run(state: State) -> Value:
            evaluated = [argument(state) for argument in arguments]
            try:
                return function(*evaluated)
            except (TypeError, AttributeError) as cause:
                raise TemplateError(f"error calling {name}: {cause}", line=line) from None

        return run

    def _operand(self, tree: Tree[Token]) -> Expression:
        token = tree.children[0]
        match tree.data:
            case "dot":
                return lambda state: state.dot
            case "field":
                path = str(token).split(".")[1:]
                return lambda state: _walk(state.dot, path)
            case "variable":
                name, *fields = str(token).split(".")
                return lambda state: _walk(_lookup(state, name), fields)
            case "chain":
                inner, path = self._expression(_trees(tree)[0]), str(tree.children[-1]).split(".")[1:]
                return lambda state: _walk(inner(state), path)
            case "function":
                return self._function(str(token), [], tree)
            case _:
                constant = _constant(str(token))
                return lambda _: constant


def _shortcut(arguments: list[Expression], *, stops_at: bool) -> Expression:
    """`or` stops at the first true operand, `and` at the first false one; both return that operand."""

    def run(state: State) -> Value:
        value: Value = None
        for argument in arguments:
            value = argument(state)
            if truth(value) is stops_at:
                break
        return value

    return run


def _walk(value: Value, path: Sequence[str]) -> Value:
    for name in path:
        if isinstance(value, Struct) and name not in value:
            raise TemplateError(f"can't evaluate field {name}")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif value is None:
            raise TemplateError(f"nil pointer evaluating interface {{}}.{name}")
        else:
            raise TemplateError(f"can't evaluate field {name} in type {type(value).__name__}")
    return value


def _lookup(state: State, name: str) -> Value:
    for known, value in reversed(state.variables):
        if known == name:
            return value
    raise TemplateError(f"undefined variable {name!r}")


def _assign(state: State, name: str, value: Value) -> None:
    for i in range(len(state.variables) - 1, -1, -1):
        if state.variables[i][0] == name:
            state.variables[i] = (name, value)
            return
    raise TemplateError(f"undefined variable {name!r}")


def _pairs(value: Value) -> list[tuple[Value, Value]]:
    match value:
        case None:
            return []
        case Mapping():
            return [(key, value[key]) for key in sorted(value)]
        case bool() | str() | float():
            raise TemplateError(f"range can't iterate over {show(value)}")
        case int():
            return [(i, i) for i in range(min(value, MAX_OUTPUT))]
        case _:
            return list(enumerate(value))


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _variable_name(token: Tree[Token] | Token) -> str:
    name = str(token)
    if "." in name:
        raise TemplateError(f"cannot set {name}", line=_line(token))
    return name


def _string(token: Tree[Token] | Token) -> str:
    return str(_constant(str(token)))


def _constant(text: str) -> Value:
    words: dict[str, Value] = {"true": True, "false": False, "nil": None}
    if text in words:
        return words[text]
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    try:
        literal = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise TemplateError(f"bad literal {text}") from None
    return ord(literal) if text.startswith("'") and len(literal) == 1 else literal


def _line(tree: Tree[Token] | Token) -> int | None:
    while isinstance(tree, Tree):
        tree = tree.children[0]
    return tree.line


def _raiser(error: type[Exception]) -> Node:
    def run(_: State) -> None:
        raise error

    return run


def _ignore(_: Value) -> None:
    pass
