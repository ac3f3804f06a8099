"""`corral render`: the exact prompt that a conversation becomes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..store.errors import InputError, MachineError
from ..store.name import Name
from . import console
from .settings import Settings
from .sources import read_source, read_text

if TYPE_CHECKING:
    from ..modelfile.template.conversation import Conversation
    from ..runtime.dialogue.prompt import Draft
    from ..runtime.served import ModelFacts

_WORDS = {"true": True, "false": False}


def command(
    model: Annotated[str | None, typer.Argument(help="The model whose prompt is wanted.")] = None,
    *,
    messages: Annotated[str, typer.Option("--messages", help="A JSON file: messages, or a chat request; - for stdin.")],
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="A Modelfile, for the model that it would create.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="A file with a template: Go's, or Jinja's named *.jinja.")
    ] = None,
    tools: Annotated[str | None, typer.Option("--tools", help="A JSON file with the tools of the chat API.")] = None,
    think: Annotated[str | None, typer.Option("--think", help="true, false, low, medium, high or max.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show how the model's tokenizer cuts it instead.")] = False,
) -> None:
    """Print the prompt that a conversation becomes, and nothing else."""
    if (model is not None) + (file is not None) > 1 or not (model or file or template):
        raise InputError("name a model, a Modelfile with -f, or a --template")
    conversation = _conversation(messages, tools, think)
    facts = _facts(model, file)
    draft = _draft(facts, conversation) if facts else None
    text = _rendered(draft, conversation, template)
    if tokens:
        _print_tokens(facts, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def _conversation(messages: str, tools: str | None, think: str | None) -> Conversation:
    from ..modelfile.template.conversation import ChatMessage, Conversation
    from ..runtime.request import read_think

    given = _json(messages)
    body = cast("dict[str, Any]", given) if isinstance(given, dict) else {"messages": given}
    listed = body.get("messages")
    wanted: object = _json(tools) if tools is not None else body.get("tools") or []
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{messages}: there are no messages", hint='a list, or an object with "messages"')
    if not isinstance(wanted, list):
        raise InputError(f"{tools or messages}: the tools are no list")
    asked = read_think(_WORDS.get(think, think) if think is not None else body.get("think"))
    listed = cast("list[Any]", listed)
    return Conversation([*map(ChatMessage.read, listed)], cast("list[dict[str, Any]]", wanted), asked)


def _facts(model: str | None, file: str | None) -> ModelFacts | None:
    from ..modelfile.parser import parse
    from ..runtime.served import planned, served

    store = Settings.from_environment().store
    if model is not None:
        return served(store, Name.parse(model))
    if file is not None:
        _, source, folder = read_source(file)
        return planned(store, Name.parse("modelfile"), parse(source), folder)
    return None


def _draft(facts: ModelFacts, conversation: Conversation) -> Draft:
    from ..runtime.drafting import draft_prompt
    from ..runtime.request import Chat, InferenceRequest
    from ..store import gguf
    from ..store.vocabulary import read_vocabulary

    task = Chat(messages=conversation.messages, tools=conversation.tools, think=conversation.think)
    draft = draft_prompt(facts, InferenceRequest(model=str(facts.name), task=task))
    known = read_vocabulary(facts.weights, gguf.read(facts.weights))
    return replace(draft, templates=replace(draft.templates, bos=known.bos, eos=known.eos)) if known else draft


def _rendered(draft: Draft | None, conversation: Conversation, template: str | None) -> str:
    from ..runtime.dialogue.images import number_images
    from ..runtime.dialogue.prompt import Draft

    draft = draft or Draft(conversation=conversation)
    if template is not None:
        text = read_text(template)
        is_jinja = Path(template).suffix in (".jinja", ".jinja2", ".j2")
        templates = replace(draft.templates, go="" if is_jinja else text, jinja=text if is_jinja else "")
        draft = replace(draft, templates=templates)
    return draft.render(number_images(draft.conversation.messages))


def _print_tokens(facts: ModelFacts | None, text: str) -> None:
    from ..runtime.engine.vocabulary import cut

    if facts is None:
        raise InputError(
            "--tokens needs a model, whose tokenizer cuts the prompt", hint="name one, or a Modelfile with -f"
        )
    found = cut(facts.weights, text)
    if found is None:
        raise MachineError(
            "no engine here can cut the prompt into tokens", hint="install corral with its extra `llama`"
        )
    for token, piece in found:
        console.out(f"{token:>8}  {json.dumps(piece, ensure_ascii=False)}")


def _json(file: str) -> object:
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as cause:
        raise InputError(f"{file}: not JSON: {cause}") from None
