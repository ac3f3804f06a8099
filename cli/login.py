"""`corral login`: credentials for a registry, kept where docker keeps them."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated

import typer

from ..registry.credentials import Credential
from ..registry.login import check_login
from ..registry.loginfile import LoginFile
from ..store.errors import InputError, shown
from . import console
from .options import Insecure
from .settings import Settings
from .wiring import registry_access, registry_host

_MAX_PASSWORD = 64 << 10


def command(
    registry: Annotated[str, typer.Argument(help="The registry: host or host:port.")],
    *,
    user: Annotated[str, typer.Option("--username", "-u", help="The user's name.")] = "",
    from_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password, or a token in its place, from standard input.")
    ] = False,
    password: Annotated[str, typer.Option("--password", "-p", hidden=True)] = "",
    insecure: Insecure = False,
) -> None:
    """Log in to a registry."""
    if password:
        raise InputError(
            "login: a password on the command line is seen by everybody on this machine, and stays in the shell's history",
            hint="use --password-stdin, or type it when asked",
        )
    scheme, host = registry_host(registry)
    settings = Settings.from_environment()
    access = registry_access(settings)
    if not from_stdin and not sys.stdin.isatty():
        raise InputError("login: no terminal to ask for the password on", hint="use --password-stdin")
    name = user or ("" if from_stdin else _asked("Username: "))
    if not name or ":" in name or not name.isprintable():
        raise InputError(f"login: {shown(name)} is no user name", hint="name one with -u; it has no colon in it")
    secret = sys.stdin.read(_MAX_PASSWORD).rstrip("\r\n") if from_stdin else getpass("Password: ")
    if not secret or not secret.isprintable():
        raise InputError("login: the password is empty or holds control characters")
    credential = Credential(name, secret)
    check_login(host, credential, access, insecure=insecure, scheme=scheme)
    where = LoginFile(settings.login_files[0]).add(host, credential)
    console.out(f"logged in to {host} as {name}; kept in {where}")


def _asked(prompt: str) -> str:
    console.note(prompt)
    return sys.stdin.readline().strip()
