"""Rules: what can be wrong with a Modelfile, each with the code that people search for. docs/diagnostics.md explains them.

A code is never given a second meaning. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from .source import Span

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem, with the text it is about."""

    rule: Rule
    severity: Severity
    span: Span
    message: str
    hint: str | None = None
    detail: tuple[str, ...] = ()
    """Lines for people that show what the message says."""

    @property
    def code(self) -> str:
        """`MF001` and so on."""
        return self.rule.code


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of problem."""

    code: str
    severity: Severity
    title: str

    def at(
        self, span: Span, message: str, hint: str | None = None, *, strict: bool = False, detail: tuple[str, ...] = ()
    ) -> Diagnostic:
        """A problem of this kind; in strict mode a warning is an error."""
        severity: Severity = "error" if strict else self.severity
        return Diagnostic(self, severity, span, message, hint, detail)


# The language: Ollama rejects these.
UNKNOWN_INSTRUCTION = Rule("MF001", "error", "unknown instruction")
NO_VALUE = Rule("MF002", "error", "instruction without a value")
BAD_NAME = Rule("MF003", "error", "PARAMETER without a well-formed name, or MESSAGE without a role")
UNKNOWN_ROLE = Rule("MF004", "error", "unknown message role")
UNTERMINATED = Rule("MF005", "error", "quoted text that never ends")
NO_FROM = Rule("MF006", "error", "no FROM")
EMPTY_FROM = Rule("MF007", "error", "FROM names nothing")
UNKNOWN_PARAMETER = Rule("MF008", "error", "unknown parameter")
BAD_VALUE = Rule("MF009", "error", "parameter value of the wrong type")
BAD_VERSION = Rule("MF010", "error", "REQUIRES is not a version")
BAD_TEMPLATE = Rule("MF011", "error", "TEMPLATE with an error")
MODCTL = Rule("MF012", "error", "a Modelfile of CNCF's modctl")
TOO_LARGE = Rule("MF013", "error", "a file too large to read")
# The language: Ollama accepts these and does something else than what was meant. Errors in strict mode.
TEXT_AFTER_QUOTE = Rule("MF020", "warning", "text after a closing quote")
DOUBLED_BLANK = Rule("MF021", "error", "two blanks after PARAMETER or MESSAGE")
INVISIBLE = Rule("MF022", "warning", "characters that are dropped")
DUPLICATE = Rule("MF023", "warning", "an instruction that replaces an earlier one")
BAD_ENCODING = Rule("MF024", "warning", "bytes that are not text")
# The meaning.
MISSING_FILE = Rule("MF030", "error", "a file that is not there or cannot be used")
SHADOWED_NAME = Rule("MF031", "warning", "a file or folder that hides a model of that name")
ABSOLUTE_PATH = Rule("MF032", "warning", "a path that no other machine has")
WRONG_ADAPTER = Rule("MF033", "error", "an adapter for another architecture")
LONG_CONTEXT = Rule("MF034", "warning", "num_ctx above the model's training context")
LONG_SYSTEM = Rule("MF035", "warning", "a system message longer than the context")
PROMPT_UNUSED = Rule("MF036", "warning", "a TEMPLATE that never uses the prompt")
SECRET = Rule("MF037", "warning", "a secret in the text")
OUT_OF_RANGE = Rule("MF038", "warning", "a parameter value that cannot be right")
DEPRECATED = Rule("MF039", "warning", "deprecated parameter")
NEWER_VERSION = Rule("MF040", "warning", "REQUIRES a newer version than this one")
NOT_CHECKED = Rule("MF041", "note", "something that could not be checked here")
ABSENT_MODEL = Rule("MF042", "error", "a model that is not in the store")
# The prompt.
TEMPLATE_DRIFT = Rule("MF050", "warning", "a TEMPLATE that differs from the model's own chat template")
TEMPLATE_EDGE = Rule("MF051", "note", "a TEMPLATE that differs in a special case")
NOT_A_TOKEN = Rule("MF052", "warning", "a TEMPLATE with tokens of another model")
STOP_NEVER_WRITTEN = Rule("MF053", "warning", "a stop text that this model never writes")
DOUBLED_BOS = Rule("MF054", "warning", "a TEMPLATE that doubles the beginning")
TEMPLATE_UNUSED = Rule("MF055", "warning", "a TEMPLATE that is not used")
TEMPLATE_CHOSEN = Rule("MF056", "note", "no TEMPLATE, and what is used instead")
UNKNOWN_RENDERER = Rule("MF057", "warning", "unknown RENDERER")

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in globals().values() if isinstance(rule, Rule)})
