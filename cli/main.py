"""The command line: finds the verb, runs it, and turns errors into one line and an exit code.

A verb's module is imported only when it is the one asked for, which keeps `corral list` near the interpreter's own start.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Annotated

import typer

from ..store.errors import BugError, CorralError, InputError, IntegrityError, MachineError, RemoteError
from . import console
from .settings import Settings

VERBS = (
    "serve",
    "create",
    "show",
    "run",
    "stop",
    "pull",
    "push",
    "remote",
    "login",
    "logout",
    "list",
    "ps",
    "cp",
    "rm",
    "gc",
    "verify",
    "df",
    "diff",
    "export",
    "import",
    "lint",
    "fmt",
    "parse",
    "render",
    "doctor",
    "bench",
    "keys",
    "registry",
)
GROUPS = {
    "remote": ("tags", "inspect", "referrers", "copy", "rm"),
    "keys": ("add", "list", "rm"),
    "registry": ("serve",),
}
"""Verbs that have verbs of their own: in the COMMANDS of the group's file, or each in a file of the group's folder."""
ALIASES = {"ls": "list", "start": "serve"}

EXIT_CODES: dict[type[CorralError], int] = {
    InputError: 1,
    IntegrityError: 3,
    RemoteError: 4,
    MachineError: 5,
    BugError: 70,
}
"""2 is the command line's own (typer), 130 an interruption. README and `corral --help` show this table."""

_EPILOG = (
    "Exit codes: 0 done, 1 wrong input, 2 wrong command line, 3 damaged data, 4 a registry or server failed, "
    "5 this machine cannot, 70 a bug, 130 interrupted."
)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        _app(arguments)(list(arguments), standalone_mode=True, prog_name="corral")
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except CorralError as error:
        console.fail(error)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 70)
    except KeyboardInterrupt:
        return 130
    # Whatever else comes through is our mistake; a user gets one line of it too.
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            console.note("Error: the output cannot be written: no space left")
            return EXIT_CODES[MachineError]
        if Settings.from_environment().flag("DEBUG"):
            raise
        console.fail(
            BugError(
                f"internal error: {type(error).__name__}: {error}", hint="run it again with OLLAMA_DEBUG=1 to see where"
            )
        )
        return EXIT_CODES[BugError]
    return 0


def _app(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        help="Build, ship and serve models, compatible with Ollama.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global)
    word = next((argument for argument in arguments if not argument.startswith("-")), "")
    asked = ALIASES.get(word, word)
    only = asked in VERBS and "_CORRAL_COMPLETE" not in os.environ
    for verb in (asked,) if only else VERBS:
        module = import_module(f".{verb}{'_' * iskeyword(verb)}", __package__)
        if verb in GROUPS:
            app.add_typer(_group(verb, getattr(module, "COMMANDS", {})), name=verb, help=module.SUMMARY)
            continue
        app.command(verb)(module.command)
        for alias, target in ALIASES.items():
            if target == verb:
                app.command(alias, hidden=True)(module.command)
    return app


def _group(verb: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for word in GROUPS[verb]:
        group.command(word)(commands.get(word) or import_module(f".{verb}.{word}", __package__).command)
    return group


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        from .. import __version__
        from ..modelfile.level import API_LEVEL

        console.out(f"corral version is {__version__} (Ollama API {API_LEVEL})")
        raise typer.Exit


def _global(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
