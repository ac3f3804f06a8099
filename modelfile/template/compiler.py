"""Compile: a template's tree to Python functions, which a Run calls. Pure.

Nothing a template says becomes code: its variables get numbers, and its texts are string literals. The names the functions
use are `run`, the Run; `w`, which prints a text; `t` for truth, `f` and `g` for a field, and `x`, the last value looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lark import Token, Tree

from .errors import TemplateError
from .functions import Function
from .literals import constant
from .run import Run, field, field_or_nil
from .values import Value, truth

Body = Callable[["Run", Value], None]
FILE = "<template>"
"""What tracebacks call the functions' code."""
_MAX_COMPARED = 64
"""Characters of a constant that texts are compared with directly, without asking the budget."""
_TURN, _PER_COST = 16, 8
"""What a turn of a loop costs, and how many characters of its code cost one more."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled template."""

    main: Body
    templates: Mapping[str, Body]
    functions: Mapping[str, Function]
    lines: list[int | None]
    """The template's line for each line of the code."""


def compile_tree(tree: Tree[Token], functions: Mapping[str, Function], *, is_open: bool = False) -> Program:
    """The program of a parsed template. Raises TemplateError, with a line.

    `is_open` is for the last part of a prompt written exchange by exchange, which Ollama executes as a template of its own:
    it knows no templates by name, no functions but those given, and takes what is missing for nothing.
    """
    compiler = _Compiler(functions, is_open=is_open)
    compiler.template(tree)
    names: dict[str, Any] = {"t": truth, "f": field, "g": field_or_nil}
    try:
        exec(compile("\n".join(compiler.code), FILE, "exec"), names)  # noqa: S102 - see the top
    # Python's own bounds: indentation, parentheses, loops in loops, its compiler's stack.
    except (SyntaxError, MemoryError):
        raise TemplateError("nested too deeply") from None
    templates: dict[str, Body] = {name: names[function] for name, function in compiler.templates.items()}
    return Program(templates.get("") or names["main"], {} if is_open else templates, functions, compiler.lines)


class _Compiler:
    def __init__(self, functions: Mapping[str, Function], *, is_open: bool) -> None:
        self.code: list[str] = []
        self.lines: list[int | None] = [None]
        self.templates: dict[str, str] = {}
        """The functions of what define and block name."""
        self._bodies: dict[str, Tree[Token]] = {}
        self._separate: list[tuple[str, Tree[Token]]] = []
        self._functions = functions
        self._is_open = is_open
        self._scope: list[tuple[str, str]] = []
        """The template's variables, and their names here."""
        self._dot = ""
        self._ranges = 0
        self._depth = 0
        self._line: int | None = None
        self._count = 0

    def template(self, tree: Tree[Token]) -> None:
        """Write the functions of a template and of those it names."""
        for child in tree.children:
            if isinstance(child, Tree) and child.data == "define":
                self._define(child)
        self._body("main", tree)
        while self._separate:
            self._body(*self._separate.pop())
        if "" in self.templates and not _is_empty(tree):
            if not _is_empty(self._bodies[""]):
                raise TemplateError('multiple definition of template ""')
            del self.templates[""]

    def _body(self, function: str, tree: Tree[Token]) -> None:
        """A function that sees neither the variables nor the ranges around it."""
        self._scope, self._dot, self._ranges, self._depth = [("$", "root")], "root", 0, 0
        self._add(f"def {function}(run, root):")
        self._depth = 1
        self._add("w = run.out.append")
        self._nodes(tree, at_top=function == "main")

    def _add(self, statement: str) -> None:
        self.code.append(" " * self._depth + statement)
        self.lines.append(self._line)

    def _new(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _nodes(self, tree: Tree[Token], *, at_top: bool = False) -> None:
        for child in _trees(tree):
            self._line = _line(child) or self._line
            if child.data != "define":
                self._node(child)
            elif not at_top:
                raise TemplateError("unexpected {{define}}", line=self._line)

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
            case "block":
                self._define(tree)
                self._call(tree, _trees(tree)[0])
            case "call_template":
                arguments = _trees(tree)
                if not arguments:
                    raise TemplateError("undefined template specified", line=_line(tree), hint="give it a value: a dot")
                self._call(tree, arguments[0])
            case _:
                word = "break" if tree.data == "break_" else "continue"
                if not self._ranges:
                    raise TemplateError(f"{word} outside range", line=_line(tree))
                self._add(word)

    def _call(self, tree: Tree[Token], argument: Tree[Token]) -> None:
        self._add(f"run.call({_string(tree.children[0])!r}, {self._expression(argument)})")

    def _define(self, tree: Tree[Token]) -> None:
        """Take note of a named template. Of two, one is empty, and the other counts."""
        if self._is_open:
            return
        name, body = _string(tree.children[0]), _trees(tree)[-1]
        if name in self._bodies and _is_empty(body):
            return
        if name in self._bodies and not _is_empty(self._bodies[name]):
            raise TemplateError(f"multiple definition of template {name!r}", line=_line(tree))
        self._bodies[name] = body
        self.templates[name] = self._new("template")
        self._separate.append((self.templates[name], body))

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
        for name in names:  # until the first turn they are what is gone over
            if assigns:
                self._add(name)  # fails when nothing has declared it
            self._add(f"{name} = {items} = {source}")
            source = items
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
            self._nothing(_trees(otherwise[0])[0])
        del self._scope[known:]

    def _nothing(self, tree: Tree[Token]) -> None:
        """The `else` of a range, which a `break` in it ends."""
        if any(tree.find_data("break_")):
            self._depth += 1
            self._add("for x in '.':")
            self._block(tree)
            self._depth -= 1
        else:
            self._block(tree)

    def _expression(self, tree: Tree[Token]) -> str:
        match tree.data:
            case "declare" | "assign":
                value, token = self._expression(_trees(tree)[0]), tree.children[0]
                if tree.data == "assign":  # reading it fails when nothing has declared it
                    value = f"({self._bound(token, declares=False)}, {value})[1]"
                return f"({self._bound(token, declares=tree.data == 'declare')} := {value})"
            case "pipeline":
                first, *others = _trees(tree)
                value = self._command(first, None)
                for command in others:
                    operand = _trees(command)[0]
                    if operand.data in ("string", "number", "constant", "dot"):
                        raise TemplateError("non executable command in pipeline", line=_line(command))
                    value = self._command(command, value)
                return value
            case _:
                return self._operand(tree)

    def _bound(self, token: Tree[Token] | Token, *, declares: bool) -> str:
        """The variable that is set."""
        name = str(token)
        if "." in name:
            raise TemplateError(f"cannot set {name}", line=_line(token))
        if declares or not any(name == known for known, _ in self._scope):
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
            return "run.fail('argument for what is no function')"
        if first.data == "constant" and first.children[0] == "nil":
            return "run.fail('nil is not a command')"
        return self._expression(first)

    def _function(self, name: str, arguments: list[str], tree: Tree[Token], rest: list[Tree[Token]]) -> str:
        if name in ("and", "or"):
            wrong = f"wrong number of args for {name}"
            return self._shortcut(name, arguments) if arguments else f"run.fail({wrong!r})"
        if name not in self._functions:
            if self._is_open:
                return f"run.fail({f'{name} is not defined in what comes before .Response'!r})"
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
                return self._walk(self._dot, str(token), is_nil_known=self._dot == "root")
            case "variable":
                name, _, fields = str(token).partition(".")
                return self._walk(self._known(name, token), f".{fields}" if fields else "", is_nil_known=True)
            case "chain":
                path = "".join(map(str, tree.children[1:]))
                return self._walk(self._expression(_trees(tree)[0]), path, is_nil_known=True)
            case "function":
                return self._function(str(token), [], tree, [])
            case _:
                value = constant(str(token), _line(token))
                if isinstance(value, int) and not -(2**63) <= value < 2**63:
                    return f"run.fail({f'{token} overflows int'!r})"
                return f"({value!r})" if isinstance(value, int | float) else repr(value)

    def _walk(self, value: str, path: str, *, is_nil_known: bool) -> str:
        """Fields of fields. What a pipeline found to be nil has any field, and all are nil; what a field is does not."""
        for i, name in enumerate(path.split(".")[1:]):
            value = f"{'g' if self._is_open or (is_nil_known and i == 0) else 'f'}({value}, {name!r})"
        return value


def _truth(test: str) -> str:
    is_bool = test.startswith(("(not ", "(x == ", "(x != "))
    return test if is_bool else f"(x if type(x := {test}) is str else t(x))"


def _is_empty(tree: Tree[Token]) -> bool:
    """Whether a template's body is nothing but blanks."""
    return all(
        child.data == "define" or (child.data == "text" and str(child.children[0]).isspace()) for child in _trees(tree)
    )


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
