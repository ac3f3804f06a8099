"""Drafting: from a request to the draft of its prompt, once it is clear that the model can do what is asked."""

from __future__ import annotations

from ..modelfile.template.choice import template_capabilities
from ..modelfile.template.conversation import ChatMessage, Conversation
from ..store.errors import InputError
from .dialogue import images
from .dialogue.prompt import Draft, Templates, chat_messages, generate_messages, without_thoughts
from .request import Chat, Completion, InferenceRequest, UnsupportedError
from .served import ModelFacts


def draft_prompt(model: ModelFacts, request: InferenceRequest) -> Draft:
    """The draft of a prompt. Raises UnsupportedError for what the model cannot do, InputError for an unknown RENDERER."""
    task = request.task
    known = check_capabilities(model, request)
    think = True if task.think is None and "thinking" in known else task.think  # as in Ollama
    first = [ChatMessage(message.role, message.content) for message in model.messages]
    if not isinstance(task, Chat) and task.context:
        first = []  # they were said at the beginning of what was said before
    if isinstance(task, Chat):
        messages = chat_messages(first, model.system, task.messages)
        if model.family == "qwen3" or model.name.model == "deepseek-r1":
            messages = without_thoughts(messages)
    elif task.raw or task.suffix:
        messages = generate_messages([], "", task.prompt, task.images)
    else:
        messages = generate_messages(first, task.system or model.system, task.prompt, task.images)
    _check_images(model, messages)
    return Draft(
        conversation=Conversation(
            messages, task.tools if isinstance(task, Chat) and task.calls != "none" else (), think
        ),
        templates=_templates(model, task),
        suffix="" if isinstance(task, Chat) else task.suffix,
        is_chat=isinstance(task, Chat),
        is_raw=isinstance(task, Completion) and task.raw,
        image_tokens=images.TOKENS,
    )


def check_capabilities(model: ModelFacts, request: InferenceRequest) -> frozenset[str]:
    """What the template in use can do. Raises UnsupportedError when it is not enough for the request."""
    task = request.task
    is_chat = isinstance(task, Chat)
    if "completion" not in model.capabilities:
        raise UnsupportedError(f'"{request.model}" does not support {"chat" if is_chat else "generate"}')
    own = "" if is_chat else task.template
    known = template_capabilities(own) if own else model.shown_choice.capabilities
    if task.think and "thinking" not in known:
        raise UnsupportedError(f'"{request.model}" does not support thinking')
    wanted, name = (task.tools, "tools") if is_chat else (task.suffix, "insert")
    can = name in known or (name == "insert" and not own and model.has_infill)
    if wanted and not can:
        raise UnsupportedError("{}/{}/{}:{} does not support ".format(*model.name.parts) + name)
    return known


def _check_images(model: ModelFacts, messages: list[ChatMessage]) -> None:
    most = max(message.images for message in messages)
    if most and not model.has_projector:
        raise InputError("images are not supported by this model")
    if most > 1 and "mllama" in (model.config.model_families or ()):
        raise InputError("this model only supports one image while more than one image requested")


def _templates(model: ModelFacts, task: Chat | Completion) -> Templates:
    if isinstance(task, Completion):
        if task.raw:
            return Templates()
        if task.template or task.suffix:
            go = task.template or model.template
            return Templates(go=go, has_infill=bool(task.suffix) and "insert" not in template_capabilities(go))
    choice = model.choice
    jinja = model.header.chat_template if choice.kind == "gguf" else ""
    return Templates(go=model.template if choice.kind == "template" else "", jinja=jinja or "")
