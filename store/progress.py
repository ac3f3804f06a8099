"""Progress: what a long operation says of itself, in the shape of Ollama's status lines. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .digest import Digest


@dataclass(frozen=True, slots=True)
class Progress:
    """A status, and for a blob on its way how many of its bytes are done."""

    status: str
    digest: Digest | None = None
    total: int | None = None
    completed: int | None = None

    def to_json(self) -> dict[str, str | int]:
        """The fields that are set, as Ollama's API streams them."""
        fields: dict[str, str | int | None] = {
            "status": self.status,
            "digest": str(self.digest) if self.digest else None,
            "total": self.total,
            "completed": self.completed,
        }
        return {key: value for key, value in fields.items() if value is not None}


Report: TypeAlias = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """A Report for those who do not want one."""
