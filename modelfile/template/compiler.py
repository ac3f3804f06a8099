"""Compile: a template's tree to Python functions, which a Run calls. Pure.

Nothing a template says becomes code: its variables get numbers, and its texts are string literals. The names the functions
use are `run`, the Run; `w`, which prints a text; `t` for truth, `f` for a field, and `x`, the last value looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lark import Token, Tree

from .errors import TemplateError
from .functions import Function
from .literals import constant
from .run import Run, field
from .values import Value, truth

Body = Callable[["Run", Value], None]
FILE = "<template>"
"""What tracebacks call the functions' code."""
_MAX_COMPARED = 64
"""Characters of a constant that texts are compared with directly, without asking the budget."""
_TURN, _PER_COST = 64, 8
"""What a turn of a loop costs, and how many characters of its code cost one more."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled template."""

    main: Body
    templates: Mapping[str, Body]
    functions: Mapping[str, Function]
    lines: list[int | None]
    """The template's line for each line of the code."""


def compile_tree(tree: Tree[Token], functions: Mapping[str, Function]) -> Program:
    """The program of a parsed template. Raises TemplateError, with a line."""
    compiler = _Compiler(functions)
    compiler.body("main", tree)
    names: dict[str, Any] = {"t": truth, "f": field}
    try:
        exec(compile("\n".join(compiler.code), FILE, "exec"), names)  # noqa: S102 - see the top
    # Python's own bounds: indentation, parentheses, loops in loops, its compiler's stack.
    except (SyntaxError, MemoryError):
        raise TemplateError("nested too deeply") from None
    templates: dict[str, Body] = {name: names[function] for name, function in compiler.templates.items()}
    return Program(names["main"], templates, functions, compiler.lines)


class _Compiler:
    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.code: list[str] = []
        self.lines: list[int | None] = [None]
        self.templates: dict[str, str] = {}
        """The functions of what define and block name."""
        self._separate: list[tuple[str, Tree[Token]]] = []
        self._functions = functions
        self._scope: list[tuple[str, str]] = []
        """The template's variables, and their names here."""
        self._dot = ""
        self._ranges = 0
        self._depth = 0
        self._line: int | None = None
        self._count = 0

    def body(self, function: str, tree: Tree[Token]) -> None:
        """Write a function: a body that sees neither the variables nor the ranges around it; and those it names."""
        self._scope, self._dot, self._ranges, self._depth = [("$", "root")], "root", 0, 0
        self._add(f"def {function}(run, root):")
        self._depth = 1
        self._add("w = run.out.append")
        self._nodes(tree)
        while self._separate:
            self.body(*self._separate.pop())

    def _add(self, statement: str) -> None:
        self.code.append(" " * self._depth + statement)
        self.lines.append(self._line)

    def _new(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _nodes(self, tree: Tree[Token]) -> None:
        for child in _trees(tree):
            self._line = _line(child) or self._line
            self._node(child)

    def _block(self, tree: Tree[Token]) -> None:
        """Statements below the last one."""
        self._depth += 1
        before = len(self.code)
        self._nodes(tree)
        if len(self.code) == before:
            self._add("pass")
        self._depth -= 1

    def _node(self, tree: Tree[Token]) -> None:
        match tree.data:
            case "text":
                self._add(f"w({str(tree.children[0])!r})")
            case "action":
                self._action(_trees(tree)[0])
            case "if_" | "with_":
                self._branch(tree, "if")
            case "range_":
                self._range(tree)
            case "define":
                self._define(_string(tree.children[0]), _trees(tree)[0])
            case "block":
                pipeline, body = _trees(tree)
                name = _string(tree.children[0])
                if name not in self.templates:
                    self._define(name, body)
                self._add(f"run.call({name!r}, {self._expression(pipeline)})")
            case "call_template":
                arguments = _trees(tree)
                argument = self._expression(arguments[0]) if arguments else "None"
                self._add(f"run.call({_string(tree.children[0])!r}, {argument})")
            case _:
                word = "break" if tree.data == "break_" else "continue"
                if not self._ranges:
                    raise TemplateError(f"{word} outside range", line=_line(tree))
                self._add(word)

    def _define(self, name: str, tree: Tree[Token]) -> None:
        self.templates[name] = self._new("template")
        self._separate.append((self.templates[name], tree))

    def _action(self, tree: Tree[Token]) -> None:
        value = self._expression(tree)
        if tree.data in ("declare", "assign"):
            self._add(value)
        else:
            self._add(f"w(x if type(x := {value}) is str else run.show(x))")

    def _branch(self, tree: Tree[Token], word: str) -> None:
        """`if` and `with`, and what their `else` has."""
        condition, body, *otherwise = _trees(tree)
        known, dot = len(self._scope), self._dot
        test = self._expression(condition)
        if tree.data in ("with_", "else_with"):
            self._dot = self._new("d")
            test = f"({self._dot} := {test})"
        self._add(f"{word} {_truth(test)}:")
        self._block(body)
        self._dot = dot
        for other in otherwise:
            if other.data == "else_":
                self._add("else:")
                self._block(_trees(other)[0])
            else:
                self._line = _line(other) or self._line
                self._branch(other, "elif")
        del self._scope[known:]

    def _range(self, tree: Tree[Token]) -> None:
        clause, body, *otherwise = _trees(tree)
        tokens = [token for token in clause.children if isinstance(token, Token)]
        assigns = any(token.type == "ASSIGN" for token in tokens)
        known, dot = len(self._scope), self._dot
        items = self._new("i")
        source = self._expression(_trees(clause)[0])
        names = [self._bound(token, declares=not assigns) for token in tokens if token.type == "VARIABLE"]
        self._add(f"{items} = run.{'pairs' if len(names) > 1 else 'values'}({source})")
        self._dot = self._new("d")
        if otherwise:
            self._add(f"if {items}:")
            self._depth += 1
        keys = f"{names[0]}, " if len(names) > 1 else ""
        self._add(f"for {keys}{self._dot} in {items}:")
        at = len(self.code)
        self._depth += 1
        self._add("run.left -= cost")
        self._add("if run.left < 0: run.stop()")
        if names:
            self._add(f"{names[-1]} = {self._dot}")
        self._depth -= 1
        self._ranges += 1
        self._block(body)
        self._ranges -= 1
        cost = _TURN + sum(map(len, self.code[at:])) // _PER_COST
        self.code[at] = self.code[at].replace("cost", str(cost))
        self._dot = dot
        if otherwise:
            self._depth -= 1
            self._add("else:")
            self._block(_trees(otherwise[0])[0])
        del self._scope[known:]

    def _expression(self, tree: Tree[Token]) -> str:
        match tree.data:
            case "declare" | "assign":
                value = self._expression(_trees(tree)[0])
                return f"({self._bound(tree.children[0], declares=tree.data == 'declare')} := {value})"
            case "pipeline":
                value = None
                for command in _trees(tree):
                    value = self._command(command, value)
                return value or "None"
            case _:
                return self._operand(tree)

    def _bound(self, token: Tree[Token] | Token, *, declares: bool) -> str:
        """The variable that is set."""
        name = str(token)
        if "." in name:
            raise TemplateError(f"cannot set {name}", line=_line(token))
        if declares:
            self._scope.append((name, self._new("v")))
        return self._known(name, token)

    def _known(self, name: str, token: Tree[Token] | Token) -> str:
        for known, here in reversed(self._scope):
            if known == name:
                return here
        raise TemplateError(f"undefined variable {name!r}", line=_line(token))

    def _command(self, tree: Tree[Token], piped: str | None) -> str:
        first, *rest = _trees(tree)
        arguments = [self._expression(argument) for argument in rest] + ([piped] if piped else [])
        if first.data == "function":
            return self._function(str(first.children[0]), arguments, first, rest)
        if arguments:
            raise TemplateError("can't give argument to non-function", line=_line(first))
        return self._expression(first)

    def _function(self, name: str, arguments: list[str], tree: Tree[Token], rest: list[Tree[Token]]) -> str:
        if name in ("and", "or"):
            if not arguments:
                raise TemplateError(f"wrong number of args for {name}", line=_line(tree))
            return self._shortcut(name, arguments)
        if name not in self._functions:
            raise TemplateError(f'function "{name}" not defined', line=_line(tree))
        call = f"run.function({name!r}, {', '.join(arguments)})"
        if name == "not" and len(arguments) == 1:
            return f"(not {_truth(arguments[0])})"
        if name in ("eq", "ne") and len(arguments) == len(rest) == 2 and rest[1].data == "string":
            text = _string(rest[1].children[0])
            if len(text) <= _MAX_COMPARED:
                operator = "==" if name == "eq" else "!="
                call = f"run.function({name!r}, x, {text!r})"
                return f"(x {operator} {text!r} if type(x := {arguments[0]}) is str else {call})"
        return call

    def _shortcut(self, name: str, arguments: list[str]) -> str:
        """`or` stops at the first true operand, `and` at the first false one; both give that operand."""
        *before, text = arguments
        for argument in reversed(before):
            kept = self._new("k")
            first, second = (kept, text) if name == "or" else (text, kept)
            text = f"({first} if t({kept} := {argument}) else {second})"
        return text

    def _operand(self, tree: Tree[Token]) -> str:
        token = tree.children[0]
        match tree.data:
            case "dot":
                return self._dot
            case "field":
                return _walk(self._dot, str(token))
            case "variable":
                name, _, fields = str(token).partition(".")
                return _walk(self._known(name, token), f".{fields}" if fields else "")
            case "chain":
                return _walk(self._expression(_trees(tree)[0]), str(tree.children[-1]))
            case "function":
                return self._function(str(token), [], tree, [])
            case _:
                value = constant(str(token), _line(token))
                return f"({value!r})" if isinstance(value, int | float) else repr(value)


def _walk(value: str, path: str) -> str:
    for name in path.split(".")[1:]:
        value = f"f({value}, {name!r})"
    return value


def _truth(test: str) -> str:
    is_bool = test.startswith(("(not ", "(x == ", "(x != "))
    return test if is_bool else f"(x if type(x := {test}) is str else t(x))"


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _string(token: Tree[Token] | Token) -> str:
    return str(constant(str(token), _line(token)))


def _line(tree: Tree[Token] | Token) -> int | None:
    while isinstance(tree, Tree):
        if not tree.children:
            return None
        tree = tree.children[0]
    return tree.line
