"""Discretion: what this server's own settings and files are called and where they lie is for its log, not for its clients."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from ...store.errors import CorralError, InputError, MachineError, one_line

log = logging.getLogger(__name__)


def unreadable(error: CorralError) -> MachineError:
    """What clients are told of settings that cannot be used; the log is told the rest."""
    log.error("%s", f"{error} ({error.hint})" if error.hint else error)
    return MachineError("this server cannot use its settings of registries; its log says why")


@contextmanager
def discreetly(paths: Iterable[Path]) -> Generator[None]:
    """Have the errors of the block call these files and folders by their last names; and what is wrong in such a file is not
    wrong in a request.
    """
    telling = [path for path in paths if path.is_absolute() and path.name]
    names = {text: path.name for path in telling for text in (str(path), one_line(str(path)))}

    def shortened(text: str) -> str:
        for path, name in names.items():
            text = text.replace(path, name)
        return text

    try:
        yield
    except CorralError as error:
        said = shortened(str(error))
        if isinstance(error, InputError) and said != str(error):
            raise unreadable(error) from None
        error.args = (said,)
        error.hint = error.hint and shortened(error.hint)
        raise
