"""Compile: a template's tree to closures, and run them. Pure.

A compiled node writes to `state.out`; a compiled expression returns a value. Variables live on one stack, as in Go: a
control structure drops what was declared inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from lark import Token, Tree

from .errors import TemplateError
from .functions import Function
from .literals import constant
from .values import Struct, Value, show, truth

MAX_OUTPUT = 64 << 20
"""Characters a template may print, and its functions read and return."""
MAX_STEPS = 1_000_000
"""Turns of all ranges, and calls of templates."""
_MAX_DEPTH = 200


class State:
    """One run of a template."""

    def __init__(self, data: Value) -> None:
        self.dot = data
        self.variables: list[tuple[str, Value]] = [("$", data)]
        self.out: list[str] = []
        self.depth = 0
        self._characters = 0
        self._steps = 0

    def write(self, text: str) -> None:
        """Print, within bounds."""
        self.spend(text)
        self.out.append(text)

    def spend(self, value: Value) -> None:
        """Count what a text costs."""
        self._characters += len(value) if isinstance(value, str) else 0
        if self._characters > MAX_OUTPUT:
            raise TemplateError(f"handles more than {MAX_OUTPUT} characters")

    def step(self) -> None:
        """Count what a turn costs."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateError(f"takes more than {MAX_STEPS} steps")


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
        self._scope = ["$"]
        self._ranges = 0

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
                self.templates[_string(tree.children[0])] = self._separate(_trees(tree)[0])
                return lambda _: None
            case "block":
                pipeline, body = _trees(tree)
                name = _string(tree.children[0])
                self.templates.setdefault(name, self._separate(body))
                return self._call(name, self._expression(pipeline))
            case "call_template":
                arguments = _trees(tree)
                return self._call(
                    _string(tree.children[0]), self._expression(arguments[0]) if arguments else lambda _: None
                )
            case _:
                word, error = ("break", _BreakError) if tree.data == "break_" else ("continue", _ContinueError)
                if not self._ranges:
                    raise TemplateError(f"{word} outside range", line=_line(tree))
                return _raiser(error)

    def _separate(self, tree: Tree[Token]) -> Node:
        """The body of a named template, which sees neither the variables nor the ranges around it."""
        around = self._scope, self._ranges
        self._scope, self._ranges = ["$"], 0
        body = self.nodes(tree)
        self._scope, self._ranges = around
        return body

    def _action(self, tree: Tree[Token]) -> Node:
        value = self._expression(tree)
        if tree.data in ("declare", "assign"):
            return lambda state: _ignore(value(state))
        return lambda state: state.write(show(value(state)))

    def _branch(self, tree: Tree[Token], *, sets_dot: bool) -> Node:
        condition, body, *otherwise = _trees(tree)
        known = len(self._scope)
        test, then = self._expression(condition), self.nodes(body)
        other = self._node(otherwise[0]) if otherwise else None
        del self._scope[known:]

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
        tokens = [token for token in clause.children if isinstance(token, Token)]
        assigns = any(token.type == "ASSIGN" for token in tokens)
        known = len(self._scope)
        items = self._expression(_trees(clause)[0])
        names = [self._bound(token, declares=not assigns) for token in tokens if token.type == "VARIABLE"]
        self._ranges += 1
        each = self.nodes(body)
        self._ranges -= 1
        other = self._node(otherwise[0]) if otherwise else None
        del self._scope[known:]

        def bind(state: State, key: Value, value: Value) -> None:
            bound = [value] if len(names) == 1 else [key, value]
            for name, item in zip(names, bound, strict=False):
                _assign(state, name, item) if assigns else state.variables.append((name, item))

        def run(state: State) -> None:
            mark, dot = len(state.variables), state.dot
            is_empty = True
            for key, value in _pairs(items(state)):
                is_empty = False
                state.step()
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
            if is_empty and other:
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
            state.step()
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
                declares = tree.data == "declare"
                value = self._expression(_trees(tree)[0])
                name = self._bound(tree.children[0], declares=declares)

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

    def _bound(self, token: Tree[Token] | Token, *, declares: bool) -> str:
        """The name of a variable that is set."""
        name = str(token)
        if "." in name:
            raise TemplateError(f"cannot set {name}", line=_line(token))
        if declares:
            self._scope.append(name)
        return self._known(name, token)

    def _known(self, name: str, token: Tree[Token] | Token) -> str:
        if name not in self._scope:
            raise TemplateError(f"undefined variable {name!r}", line=_line(token))
        return name

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
            for value in evaluated:
                state.spend(value)
            try:
                result = function(*evaluated)
            except (TypeError, AttributeError, ValueError, ArithmeticError) as cause:
                raise TemplateError(f"error calling {name}: {cause}", line=line) from None
            state.spend(result)
            return result

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
                self._known(name, token)
                return lambda state: _walk(_lookup(state, name), fields)
            case "chain":
                inner, path = self._expression(_trees(tree)[0]), str(tree.children[-1]).split(".")[1:]
                return lambda state: _walk(inner(state), path)
            case "function":
                return self._function(str(token), [], tree)
            case _:
                value = constant(str(token), _line(token))
                return lambda _: value


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


def _pairs(value: Value) -> Iterable[tuple[Value, Value]]:
    match value:
        case None:
            return ()
        case Mapping():
            return [(key, value[key]) for key in sorted(value)]
        case bool() | str() | float():
            raise TemplateError(f"range can't iterate over {show(value)}")
        case int():
            return ((i, i) for i in range(value))
        case _:
            return enumerate(value)


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _string(token: Tree[Token] | Token) -> str:
    return str(constant(str(token), _line(token)))


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
