"""Printf: a format and its arguments, by the rules of Go's fmt. Pure.

Nothing is refused: where a format and its arguments do not agree, the text says so, for example `%!d(string=x)`.
"""

from __future__ import annotations

from .gotypes import Value, joined, type_name
from .verbs import Flags, Printer

_FLAGS = {"-": "minus", "+": "plus", "#": "sharp", " ": "space", "0": "zero"}
_LARGEST = 10**6
"""Beyond this a number in a format is none."""


def printf(form: str, *items: Value) -> str:
    """The format with its verbs replaced. Raises TemplateError for too long a text."""
    return joined(_Format(form, items).text())


class _Format:
    def __init__(self, form: str, items: tuple[Value, ...]) -> None:
        self._form = form
        self._items = items
        self._at = 0
        self._next = 0
        """Which argument comes next."""
        self._is_reordered = False
        self._is_index_good = True
        self._printer = Printer()

    def text(self) -> str:
        out: list[str] = []
        while (found := self._form.find("%", self._at)) >= 0:
            out.append(self._form[self._at : found])
            self._at = found + 1
            out.append(self._directive())
        out.append(self._form[self._at :])
        if not self._is_reordered and self._next < len(self._items):
            self._printer.flags = Flags()
            out.append(f"%!(EXTRA {', '.join(map(self._extra, self._items[self._next :]))})")
        return "".join(out)

    def _extra(self, item: Value) -> str:
        return "<nil>" if item is None else f"{type_name(item)}={self._printer.text(item)}"

    def _directive(self) -> str:
        """What stands for one `%` and all that belongs to it."""
        flags = self._printer.flags = Flags()
        self._is_index_good = True
        while self._here() in _FLAGS:
            setattr(flags, _FLAGS[self._here()], True)
            self._at += 1
        indexed = self._index()
        complaint = ""
        if self._here() == "*":
            flags.width = self._star()
            complaint = "%!(BADWIDTH)" if flags.width is None else ""
            if (flags.width or 0) < 0:
                flags.width, flags.minus, flags.zero = -(flags.width or 0), True, False
            indexed = False
        else:
            flags.width = self._number()
            self._is_index_good &= not (indexed and flags.width is not None)
        if self._here() == "." and self._at + 1 < len(self._form):
            self._at += 1
            self._is_index_good &= not indexed
            indexed = self._index()
            if self._here() == "*":
                flags.precision = self._star()
                if flags.precision is None or flags.precision < 0:
                    flags.precision, complaint = None, complaint + "%!(BADPREC)"
                indexed = False
            else:
                flags.precision = self._number() or 0
        if not indexed:
            self._index()
        return complaint + self._verb()

    def _verb(self) -> str:
        verb = self._here()
        if not verb:
            return "%!(NOVERB)"
        self._at += 1
        if verb == "%":
            return "%"
        if not self._is_index_good:
            return f"%!{verb}(BADINDEX)"
        if self._next >= len(self._items):
            return f"%!{verb}(MISSING)"
        self._next += 1
        flags = self._printer.flags
        if verb in "vw":
            flags.is_go, flags.has_names, flags.sharp, flags.plus = flags.sharp, flags.plus, False, False
        return self._printer.text(self._items[self._next - 1], verb)

    def _here(self) -> str:
        """The character to read next, "" at the end."""
        return self._form[self._at : self._at + 1]

    def _index(self) -> bool:
        """Read the `[n]` that says which argument comes next; whether there was one."""
        if self._here() != "[":
            return False
        self._is_reordered = True
        end = self._form.find("]", self._at)
        self._at += 1
        if end < 0 or len(self._form) <= self._at + 1:
            self._is_index_good = False
            return False
        number = self._number(end)
        is_number = number is not None and self._at == end
        self._at = end + 1
        if is_number and 0 < (number or 0) <= len(self._items):
            self._next = (number or 0) - 1
            return True
        self._is_index_good = False
        return is_number

    def _number(self, end: int | None = None) -> int | None:
        """Read a number; one that is too large hides all that follows it."""
        end = len(self._form) if end is None else end
        number = None
        while self._at < end and "0" <= self._here() <= "9":
            if (number or 0) > _LARGEST:
                self._at = end
                return None
            number = (number or 0) * 10 + int(self._here())
            self._at += 1
        return number

    def _star(self) -> int | None:
        """Read `*`: the number is the next argument; None when that is no number."""
        self._at += 1
        self._next += 1
        item = self._items[self._next - 1] if self._next <= len(self._items) else None
        if not isinstance(item, int) or isinstance(item, bool) or abs(item) > _LARGEST:
            return None
        return int(item)
