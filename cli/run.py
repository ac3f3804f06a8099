"""`corral run`: ask a model, once or in a conversation, by way of a running server or a private one."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..store.errors import ModelNotFoundError
from ..store.name import Name
from . import console
from .client import Client, Generated, is_listening
from .options import Insecure
from .settings import Settings
from .wiring import local_store, puller

_PATH_STARTS = ("/", "./", "../", "~")


def command(
    model: Annotated[str, typer.Argument(help="The model, pulled when absent; or a GGUF file.")],
    prompt: Annotated[list[str] | None, typer.Argument(help="The prompt; without one a conversation begins.")] = None,
    *,
    keepalive: Annotated[str, typer.Option("--keepalive", help="How long the model stays loaded, e.g. 5m.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show counts and speeds after each answer.")] = False,
    insecure: Insecure = False,
) -> None:
    """Run a model."""
    settings = Settings.from_environment()
    file = model if is_path(model) else None
    if file is None:
        Name.parse(model)
    words = list(prompt or [])
    piped = "" if sys.stdin.isatty() else sys.stdin.buffer.read().decode("utf-8", "replace")
    if piped:
        words.insert(0, piped)
    is_interactive = not words and sys.stdin.isatty() and sys.stdout.isatty()
    if not words and not is_interactive:
        return
    with server_for(settings, file) as client:
        if file is None:
            make_present(client, settings, model, insecure=insecure)
        options: dict[str, Any] = {"model": model} | ({"keep_alive": keepalive} if keepalive else {})
        if is_interactive:
            from .repl import converse

            converse(client, options, verbose=verbose)
        else:
            _answer_once(client, options, " ".join(words), verbose=verbose)


def _answer_once(client: Client, options: dict[str, Any], text: str, *, verbose: bool) -> None:
    if not text:
        client.post("/api/generate", options)  # only loads the model
        return
    last: dict[str, Any] = {}
    for last in client.stream("/api/generate", options | {"prompt": text}, Generated):
        console.out(last["response"], end="")
    console.out("\n")
    if verbose:
        print_statistics(last)


def print_statistics(done: dict[str, Any]) -> None:
    """The last chunk's counts and speeds, as Ollama's --verbose prints them."""
    rows = [(f"{key} duration:", _seconds(done.get(f"{key}_duration", 0))) for key in ("total", "load")]
    for label, key in (("prompt eval", "prompt_eval"), ("eval", "eval")):
        count, duration = done.get(f"{key}_count", 0), done.get(f"{key}_duration", 0)
        rows.append((f"{label} count:", f"{count} token(s)"))
        rows.append((f"{label} duration:", _seconds(duration)))
        rows.append((f"{label} rate:", f"{count / max(duration, 1) * 1e9:.2f} tokens/s"))
    for label, value in rows:
        console.note(f"{label:<22}{value}")


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.3f}s"


def is_path(model: str) -> bool:
    """Whether a file is meant, by its looks."""
    return model.startswith(_PATH_STARTS) or (model.lower().endswith(".gguf") and Path(model).exists())


@contextmanager
def server_for(settings: Settings, file: str | None) -> Generator[Client]:
    """A server for the models of the store, or a private one for a file, which a running server might not see."""
    if file is None and (settings.is_remote or is_listening(settings.url)):
        yield Client(settings.url)
        return
    from .private import private_server

    with private_server(settings, file) as url:
        yield Client(url)


def make_present(client: Client, settings: Settings, model: str, *, insecure: bool) -> None:
    """Pull the model if the server does not have it."""
    try:
        client.post("/api/show", {"model": model})
    except ModelNotFoundError:
        store = local_store(settings, local=False)
        with console.progress() as report:
            puller(store, insecure=insecure)(Name.parse(model), report)
