"""Run: a compiled template at work, within bounds: what its code calls. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, cast

from .errors import TemplateError
from .gotypes import type_name, whole
from .values import Struct, Value, member, show

if TYPE_CHECKING:
    from .compiler import Program

MAX_OUTPUT = 64 << 20
"""Characters a template may print."""
BUDGET = 1 << 25
"""What a run may spend: turns of loops, calls, and the characters that functions read and return."""
_CALL = 64
_MADE = 8
"""For each character of text that is made of other values; what is only passed on costs 1."""
_MAX_DEPTH = 200


class Run:
    """One run of a program."""

    def __init__(self, program: Program) -> None:
        self.out: list[str] = []
        self.left = BUDGET
        self._program = program
        self._depth = 0

    def text(self, data: Value) -> str:
        """All that the program prints for these values. Raises TemplateError."""
        try:
            self._program.main(self, data)
            if sum(map(len, self.out)) > MAX_OUTPUT:
                raise TemplateError(f"prints more than {MAX_OUTPUT} characters")
        except TemplateError as error:
            if error.line is None and (line := self._line(error.__traceback__)):
                raise TemplateError(error.reason, line=line, hint=error.hint) from None
            raise
        except NameError:  # a variable whose declaration was passed over
            raise TemplateError("undefined variable") from None
        except (ValueError, ArithmeticError) as cause:  # a number from outside that cannot be printed
            raise TemplateError(str(cause)) from None
        return whole("".join(self.out))

    def _line(self, traceback: TracebackType | None) -> int | None:
        """Where in the template it went wrong: in the innermost of its own functions."""
        from .compiler import FILE

        line = None
        while traceback:
            if traceback.tb_frame.f_code.co_filename == FILE:
                line = self._program.lines[traceback.tb_lineno]
            traceback = traceback.tb_next
        return line

    def spend(self, cost: int) -> None:
        """Raises TemplateError when the run has used up what it may."""
        self.left -= cost
        if self.left < 0:
            self.stop()

    def stop(self) -> NoReturn:
        """The budget is used up."""
        raise TemplateError("takes too many steps, or handles too much text")

    def fail(self, why: str) -> NoReturn:
        """What the compiler knows to be wrong, should it come to that."""
        raise TemplateError(why)

    def show(self, value: Value) -> str:
        """What `{{ value }}` prints."""
        text = show(value)
        self.spend(_MADE * len(text))
        return text

    def call(self, name: str, value: Value) -> None:
        """`{{ template "name" value }}`."""
        body = self._program.templates.get(name)
        if body is None:
            raise TemplateError(f"template {name!r} not defined")
        if self._depth >= _MAX_DEPTH:
            raise TemplateError(f"template {name!r} calls itself too deeply")
        self.spend(_CALL)
        self._depth += 1
        body(self, value)
        self._depth -= 1

    def function(self, name: str, *arguments: Value) -> Value:
        """What a function gives."""
        given = sum(len(value) for value in arguments if isinstance(value, str))
        self.spend(_CALL + given)
        try:
            result = self._program.functions[name](*arguments)
        except TemplateError as cause:
            raise TemplateError(f"error calling {name}: {cause.reason}", hint=cause.hint) from None
        except (TypeError, AttributeError, ValueError, ArithmeticError) as cause:
            raise TemplateError(f"error calling {name}: {cause}") from None
        if isinstance(result, str | bytes | list):
            self.spend(len(result) + _MADE * max(0, len(result) - given))
        return result

    def values(self, value: Value) -> Sequence[Value]:
        """What `range` goes over."""
        match value:
            case Struct():
                raise TemplateError(f"range can't iterate over {type_name(value)}")
            case Mapping():
                self.spend(len(value))
                return [value[key] for key in sorted(value)]
            case None:
                return ()
            case bool() | str() | float():
                raise TemplateError(f"range can't iterate over {show(value)}")
            case int():
                return range(min(value, BUDGET + 1))
            case _:
                return value

    def pairs(self, value: Value) -> Sequence[tuple[Value, Value]]:
        """What `range` with two variables goes over: keys and values."""
        if isinstance(value, int):
            raise TemplateError(f"range can't use {value} to go over more than one variable")
        items = self.values(value)
        self.spend(len(items))
        return list(zip(sorted(value) if isinstance(value, Mapping) else range(len(items)), items, strict=True))


def field(value: Value, name: str) -> Value:
    """`.name` of a value; of a map, nil when it is not there."""
    try:
        return cast("Mapping[str, Value]", value)[name]
    except (KeyError, TypeError):
        pass
    return member(value, name)


def field_or_nil(value: Value, name: str) -> Value:
    """The same of what may be nil."""
    return None if value is None else field(value, name)
