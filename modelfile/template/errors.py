"""What can be wrong with a template. Pure."""

from __future__ import annotations

from ...store.errors import InputError


class TemplateError(InputError):
    """A template that cannot be parsed or rendered; `line` is where, counted from 1."""

    def __init__(self, message: str, *, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(f"template: :{line}: {message}" if line else f"template: {message}", hint=hint)
        self.line = line
        self.reason = message
