"""Lint: everything that is wrong or doubtful about a Modelfile, on this machine and in this store. Nothing is written or
pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..store import gguf, manifest
from ..store.gguf import GGUF
from ..store.local import Store
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.vocabulary import read_vocabulary
from . import nodes, rules
from .describe import describe, read_text
from .parameters import ParameterError, read_parameter
from .parser import read
from .plan import Base
from .printer import print_lines
from .recipe import examine
from .rules import Diagnostic
from .secrets import find_secrets
from .source import Source, Span
from .sources import Sources, layer_path

if TYPE_CHECKING:
    from .agreement import Agreement

CountTokens: TypeAlias = Callable[[Path, str], "int | None"]
"""How many tokens the model of a GGUF file makes of a text; None where no engine is installed."""

_PROMPT_VARIABLES = frozenset({"prompt", "messages"})


def lint(
    modelfile: nodes.Modelfile, store: Store, *, folder: Path, count_tokens: CountTokens
) -> tuple[Diagnostic, ...]:
    """All findings, in the order of the text. Relative paths start at `folder`."""
    recipe, found = examine(modelfile)
    sources = Sources(store, modelfile, folder)
    found += [*_secrets(modelfile), *_paths(modelfile, sources), *_template(modelfile)]
    here = sources.find(recipe)
    # A model that is elsewhere is no mistake: create would pull it.
    found += [_absent(one) if one.rule is rules.ABSENT_MODEL else one for one in here.diagnostics]
    if here.base and here.base.weights:
        path = _weights_path(here.base, store)
        if _has_prompts(here.base.weights):
            found += _agreement(modelfile, here.base, store).findings()
        found += _context(modelfile, here.base, here.base.weights, lambda text: count_tokens(path, text))
    return _sorted(found)


def _sorted(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(found, key=lambda one: (one.span.start, one.code)))


def lint_model(store: Store, name: Name) -> tuple[nodes.Modelfile, tuple[Diagnostic, ...]]:
    """A stored model's Modelfile, and what of its prompts does not fit its weights.

    Raises ModelNotFoundError, and IntegrityError and its kin when anything of the model is damaged.
    """
    text, _ = print_lines(describe(store, store.find(name).manifest))
    modelfile = read(Source(text, str(name)))
    found = _agreement_here(modelfile, store, store.root)
    return modelfile, _sorted(found.findings() if found else ())


def fix(modelfile: nodes.Modelfile, store: Store, folder: Path) -> str | None:
    """The Modelfile's text with a TEMPLATE and stop texts that fit its model, None when they do or none can be made."""
    if modelfile.source.damaged_at >= 0:
        return None  # writing it would make what was no text final
    found = _agreement_here(modelfile, store, folder)
    return found.fixed() if found else None


def fix_model(modelfile: nodes.Modelfile, store: Store, name: Name) -> nodes.Modelfile | None:
    """A Modelfile that makes a stored model anew with prompts that fit; `modelfile` is the one lint_model() gave for it."""
    found = _agreement_here(modelfile, store, store.root)
    text = found.remedy(name) if found else None
    return read(Source(text, str(name))) if text else None


def _agreement_here(modelfile: nodes.Modelfile, store: Store, folder: Path) -> Agreement | None:
    recipe, _ = examine(modelfile)
    base = Sources(store, modelfile, folder).find(recipe).base
    return _agreement(modelfile, base, store) if base and base.weights and _has_prompts(base.weights) else None


def _has_prompts(weights: GGUF) -> bool:
    """Whether a GGUF says anything of prompts. Where it does not, the template engines need not be loaded."""
    return any(key.startswith("tokenizer.") for key in weights.metadata)


def _agreement(modelfile: nodes.Modelfile, base: Base, store: Store) -> Agreement:
    """The Modelfile beside its base, whose weights are a GGUF. Raises FileError."""
    from . import agreement

    path = _weights_path(base, store)
    header = gguf.read(path)
    stored = [layer for layer in base.layers if isinstance(layer, Descriptor)]
    inherited = read_text(store, stored, manifest.TEMPLATE, manifest.PROMPT)
    return agreement.Agreement(modelfile, inherited, header, read_vocabulary(path, header))


def _weights_path(base: Base, store: Store) -> Path:
    return layer_path(store, next(layer for layer in base.layers if layer.media_type == manifest.MODEL))


def _absent(found: Diagnostic) -> Diagnostic:
    hint = "create pulls it; what depends on it was not checked"
    return rules.NOT_CHECKED.at(found.span, f"{found.message} in the local store", hint)


def _secrets(modelfile: nodes.Modelfile) -> Iterator[Diagnostic]:
    text = modelfile.source.text
    for node in modelfile.instructions:
        if isinstance(node, nodes.System | nodes.Message | nodes.Template | nodes.License):
            for what, start, end in find_secrets(text, node.value_span.start, node.value_span.end):
                message = f"this looks like {what}, and whoever pulls the model can read it"
                yield rules.SECRET.at(Span(start, end), message, "take it out, and withdraw it where it was issued")


def _paths(modelfile: nodes.Modelfile, sources: Sources) -> Iterator[Diagnostic]:
    for node in modelfile.instructions:
        if not isinstance(node, nodes.From | nodes.Adapter | nodes.Draft):
            continue
        if node.value.startswith(("/", "~", "\\")):
            message = f"{node.value[:200]} is a path of this machine only"
            yield rules.ABSOLUTE_PATH.at(node.value_span, message, "name a file relative to the Modelfile, or a model")
        elif isinstance(node, nodes.From) and sources.hides_a_name(node):
            message = f"{node.value} is a file or folder here, which hides a model of that name"
            yield rules.SHADOWED_NAME.at(node.value_span, message, f"write ./{node.value} if the file is meant")


def _template(modelfile: nodes.Modelfile) -> Iterator[Diagnostic]:
    for node in modelfile.instructions:
        if isinstance(node, nodes.Template) and node.value:
            from .template.errors import TemplateError
            from .template.parser import Template

            try:
                unused = _PROMPT_VARIABLES.isdisjoint(Template(node.value).variables)
            except TemplateError:
                continue
            if unused:
                message = "the template uses neither .Prompt nor .Messages, so the model never sees what is asked"
                yield rules.PROMPT_UNUSED.at(node.value_span, message, "write {{ .Prompt }} where the prompt belongs")


def _context(
    modelfile: nodes.Modelfile, base: Base, weights: GGUF, count_tokens: Callable[[str], int | None]
) -> Iterator[Diagnostic]:
    """What does not fit into the context, the Modelfile's own or the inherited one."""
    trained = weights.context_length
    inherited = base.parameters.get("num_ctx")
    num_ctx = inherited if isinstance(inherited, int) and not isinstance(inherited, bool) else trained
    system: nodes.System | None = None
    for node in modelfile.instructions:
        if isinstance(node, nodes.Parameter) and node.name == "num_ctx":
            num_ctx = _whole(node) or num_ctx
            if trained and num_ctx and num_ctx > trained:
                message = f"num_ctx is {num_ctx}, and the model was trained on {trained} tokens"
                yield rules.LONG_CONTEXT.at(node.value_span, message, f"{trained} is the most that works well")
        system = node if isinstance(node, nodes.System) and node.value else system
    # A token is at least a byte, so most system messages need no tokenizer.
    if not system or not num_ctx or num_ctx <= 0 or len(system.value.encode()) <= num_ctx:
        return
    tokens = count_tokens(system.value)
    if tokens is None:
        message = f"whether the system message fits into {num_ctx} tokens was not checked: no engine is installed"
        yield rules.NOT_CHECKED.at(system.value_span, message, "install corral with its extra `llama`")
    elif tokens > num_ctx:
        message = f"the system message has {tokens} tokens, and the context {num_ctx}"
        yield rules.LONG_SYSTEM.at(system.value_span, message, "shorten it, or set a larger num_ctx")


def _whole(node: nodes.Parameter) -> int | None:
    try:
        value = read_parameter(node.name, node.value)
    except ParameterError:
        return None
    return value if isinstance(value, int) else None
