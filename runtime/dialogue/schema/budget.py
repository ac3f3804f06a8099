"""Budget: how much a schema may still ask for, and the errors that say where in it something is wrong. Pure."""

from __future__ import annotations

from ....store.errors import InputError, shown

_MOST = 150_000
"""States that all automata of a schema may have, those on the way to the result included: one to two seconds."""


class SchemaError(InputError):
    """A schema that cannot be enforced; it says where and why."""

    def __init__(self, pointer: str, why: str, *, hint: str) -> None:
        super().__init__(f"schema {_cut(pointer)}: {why}", hint=hint)
        self.pointer = pointer
        """A JSON pointer, as a URI's fragment."""
        self.why = why


def unenforceable(pointer: str, keyword: str, why: str, *, hint: str = "") -> SchemaError:
    """The error of a keyword that no grammar here can keep to."""
    return SchemaError(pointer, f'"{keyword}" cannot be enforced: {why}', hint=hint or f'remove "{keyword}" here')


class Budget:
    """Counts down while a schema is compiled."""

    def __init__(self) -> None:
        self._left = _MOST
        self.pointer = "#"
        """What is being compiled."""

    def spend(self, amount: int = 1) -> None:
        """Raises SchemaError where it is too much."""
        self._left -= amount
        if self._left < 0:
            raise SchemaError(
                self.pointer,
                "the schema is too large or its patterns are too ambiguous to be enforced",
                hint="use fewer or shorter properties, values, patterns and repetitions",
            )


def _cut(pointer: str) -> str:
    return pointer if len(pointer) <= 200 and pointer.isprintable() else shown(pointer, 200)
