"""The conversation of `corral run` on a terminal: a simple loop."""

from __future__ import annotations

from typing import Any

from ..store.errors import CorralError
from . import console
from .client import Chatted, Client

_HELP = """Available Commands:
  /clear    Clear session context
  /bye      Exit
  /?, /help Help for a command

Use \"\"\" to begin a multi-line message."""


def converse(client: Client, options: dict[str, Any], *, verbose: bool) -> None:
    """Talk until /bye or Ctrl-D; Ctrl-C ends an answer, not the conversation."""
    from prompt_toolkit import PromptSession

    from .run import print_statistics

    session: PromptSession[str] = PromptSession()
    messages: list[dict[str, str]] = []
    client.post("/api/generate", options)  # loads the model
    while True:
        try:
            text = _read(session)
        except EOFError:
            return
        except KeyboardInterrupt:
            console.note("Use Ctrl + d or /bye to exit.")
            continue
        match text.strip():
            case "":
                continue
            case "/bye" | "/exit":
                return
            case "/?" | "/help":
                console.out(_HELP)
            case "/clear":
                messages.clear()
                console.out("Cleared session context")
            case command if command.startswith("/"):
                console.out(f"Unknown command '{command}'. Type /? for help")
            case _:
                messages.append({"role": "user", "content": text})
                answer, done = _answer(client, options | {"messages": messages})
                messages.append({"role": "assistant", "content": answer})
                if verbose and done:
                    print_statistics(done)


def _read(session: Any) -> str:
    text: str = session.prompt(">>> ")
    if not text.startswith('"""'):
        return text
    text = text[3:]
    while not text.endswith('"""'):
        text += "\n" + session.prompt("... ")
    return text[:-3]


def _answer(client: Client, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    answer = ""
    done: dict[str, Any] = {}
    try:
        for chunk in client.stream("/api/chat", request, Chatted):
            answer += chunk["message"]["content"]
            console.out(chunk["message"]["content"], end="")
            done = chunk if chunk["done"] else {}
    except KeyboardInterrupt:
        pass
    except CorralError as error:
        console.out()
        console.fail(error)
    console.out("\n")
    return answer, done
