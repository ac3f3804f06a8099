"""Table: the families of models, by how they write calls. The first one whose marks a template has is the model's. Pure.

A family is not a maker: models of one maker write differently from year to year, and many makers write the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..scanner import Scanner, Steps
from ..thinking import ThinkingTags
from ..toolcalls import Offer
from . import harmony
from .json_calls import (
    DEEPSEEK_CALL,
    DEEPSEEK_SECTION,
    KIMI_CALL,
    KIMI_SECTION,
    bare_calls,
    command_r_calls,
    deepseek_calls,
    json_calls,
    kimi_calls,
    mistral_calls,
    tagged_calls,
)
from .python_calls import bare_python_or_json_calls, gemma_call, python_calls, python_or_json_calls
from .tag_calls import DSML_MARK, FUNCTIONS, functions, invocations, tool_call, tool_calls

Reader: TypeAlias = Callable[[Scanner, Offer, str], Steps[None]]
"""Reads calls, from behind the tag that opened them; or a whole answer, from behind the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family writes calls."""

    name: str
    marks: tuple[tuple[str, ...], ...] = ()
    """What a template says: of one group all."""
    openings: tuple[str, ...] = ()
    """The tags that open calls, wherever they stand."""
    read: Reader = lambda scanner, offer, _: json_calls(scanner, offer)
    """Reads the calls behind such a tag."""
    bare: Callable[[Scanner, Offer], Steps[None]] | None = bare_calls
    """Reads calls that no tag opens: only the very first of the answer can be that."""
    tags: tuple[str, ...] = ()
    """What else stands around calls."""
    frame: tuple[str, ...] = ()
    """What stands around content, and belongs to nobody."""
    whole: Reader | None = None
    """Reads the whole answer, in place of all this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """How a model writes its answers."""

    family: Family
    thinking: ThinkingTags | None = None

    @property
    def special_tokens(self) -> frozenset[str]:
        """The texts that have to be seen here, though the vocabulary may call them control tokens, which are not printed."""
        thinking = (self.thinking.opening, self.thinking.closing) if self.thinking else ()
        return frozenset((*self.family.openings, *self.family.tags, *self.family.frame, *thinking))


def tagged(tag: str) -> Family:
    """A family that is not in the table, whose calls open with this tag; "{" and "[" stand for calls without one."""
    if tag in ("", "{", "["):
        return UNKNOWN
    closing = _closing(tag)
    return Family(
        name=f"tag {tag}",
        openings=(tag,),
        read=lambda scanner, offer, _: tagged_calls(scanner, offer, *closing),
        tags=closing,
    )


def _closing(tag: str) -> tuple[str, ...]:
    """The tag that ends what this one begins, where that can be told."""
    for left, right in (("<|", "|>"), ("<", ">"), ("[", "]")):
        if tag.startswith(left) and tag.endswith(right):
            return (f"{left}/{tag[len(left) :]}",)
    return ()


def _in_json(*closing: str) -> Reader:
    return lambda scanner, offer, _: json_calls(scanner, offer, *closing)


def _in_python(*closing: str) -> Reader:
    return lambda scanner, offer, _: python_calls(scanner, offer, *closing)


def _in_python_or_json(*closing: str) -> Reader:
    return lambda scanner, offer, _: python_or_json_calls(scanner, offer, *closing)


def _in_gemma(quote: str, closing: str) -> Reader:
    return lambda scanner, _offer, _opening: gemma_call(scanner, quote, closing)


def _bare_python(scanner: Scanner, offer: Offer) -> Steps[None]:
    return python_calls(scanner, offer, is_bare=True)


def _llama_calls(scanner: Scanner, offer: Offer, opening: str) -> Steps[None]:
    if opening == FUNCTIONS.function:
        return functions(scanner, offer, FUNCTIONS, "</function>")
    return python_or_json_calls(scanner, offer)


def _tool_call(end: str) -> Reader:
    def read(scanner: Scanner, offer: Offer, opening: str) -> Steps[None]:
        if opening == FUNCTIONS.function:
            return functions(scanner, offer, FUNCTIONS, end)
        return tool_call(scanner, offer, end)

    return read


UNKNOWN = Family(name="unknown")
"""Calls stand alone, as JSON."""

FAMILIES: tuple[Family, ...] = (
    Family(
        name="harmony",  # gpt-oss
        marks=(("<|channel|>", "<|message|>"),),
        tags=harmony.SPECIAL,
        whole=harmony.messages,
    ),
    Family(
        name="deepseek-dsml",  # V3.2, V4
        marks=((DSML_MARK,),),
        openings=(f"<{DSML_MARK}function_calls>", f"<{DSML_MARK}tool_calls>"),
        read=invocations,
        tags=(DSML_MARK,),
    ),
    Family(
        name="kimi",  # Kimi K2
        marks=((KIMI_CALL,),),
        openings=(KIMI_SECTION, KIMI_CALL),
        read=lambda scanner, _, opening: kimi_calls(scanner, opening),
        tags=("<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>"),
    ),
    Family(
        name="deepseek",  # V3, R1, V3.1
        marks=((DEEPSEEK_CALL,), (DEEPSEEK_SECTION,)),
        openings=(DEEPSEEK_SECTION, DEEPSEEK_CALL),
        read=lambda scanner, _, opening: deepseek_calls(scanner, opening),
        tags=("<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
    ),
    Family(
        name="minimax",  # M2
        marks=(("<minimax:tool_call>",),),
        openings=("<minimax:tool_call>",),
        read=invocations,
        tags=("</minimax:tool_call>",),
    ),
    Family(
        name="seed",  # Seed-OSS
        marks=(("<seed:tool_call>",),),
        openings=("<seed:tool_call>",),
        read=_tool_call("</seed:tool_call>"),
        tags=("</seed:tool_call>",),
    ),
    Family(
        name="functiongemma",
        marks=(("<start_function_call>",),),
        openings=("<start_function_call>",),
        read=_in_gemma("<escape>", "<end_function_call>"),
        tags=("<escape>", "<end_function_call>"),
    ),
    Family(
        name="gemma4",
        marks=(("<|tool_call>",),),
        openings=("<|tool_call>",),
        read=_in_gemma('<|"|>', "<tool_call|>"),
        tags=('<|"|>', "<tool_call|>"),
    ),
    Family(
        name="lfm2",
        marks=(("<|tool_call_start|>",), ("<|tool_list_start|>",)),
        openings=("<|tool_call_start|>",),
        read=_in_python_or_json("<|tool_call_end|>"),
        bare=bare_python_or_json_calls,
        tags=("<|tool_call_end|>",),
    ),
    Family(
        name="command-r7b",  # and Command A
        marks=(("<|START_ACTION|>",),),
        openings=("<|START_ACTION|>",),
        read=_in_json("<|END_ACTION|>"),
        tags=("<|END_ACTION|>",),
        frame=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ),
    Family(
        name="command-r",
        marks=(("Action:", "tool_name"),),
        openings=("Action:",),
        read=command_r_calls,
    ),
    Family(
        name="mistral",
        marks=(("[TOOL_CALLS]",),),
        openings=("[TOOL_CALLS]",),
        read=mistral_calls,
        tags=("[CALL_ID]", "[ARGS]"),
    ),
    Family(
        name="nemotron",
        marks=(("<TOOLCALL>",),),
        openings=("<TOOLCALL>",),
        read=_in_json("</TOOLCALL>"),
        tags=("</TOOLCALL>",),
    ),
    Family(
        name="phi4",  # Phi-4-mini
        marks=(("<|/tool_call|>",), ("<|/tool|>",), ("functools",)),
        openings=("<|tool_call|>", "functools"),
        read=_in_json("<|/tool_call|>"),
        tags=("<|/tool_call|>",),
    ),
    Family(
        name="granite",  # 3
        marks=(("<|tool_call|>",),),
        openings=("<|tool_call|>", "<tool_call>"),
        read=_in_json("</tool_call>"),
        tags=("</tool_call>",),
    ),
    Family(
        name="glm",  # 4.5 and later
        marks=(("<arg_key>",),),
        openings=("<tool_call>",),
        read=_tool_call("</tool_call>"),
        tags=("</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    Family(
        name="qwen3-coder",  # and Qwen 3.5, Nemotron 3
        marks=(("<function=", "<parameter="),),
        openings=("<tool_call>", FUNCTIONS.function),
        read=_tool_call("</tool_call>"),
        tags=("</tool_call>",),
    ),
    Family(
        name="tool-calls",  # Hunyuan, MiniMax M1, Apriel, Jamba
        marks=(("<tool_calls>",),),
        openings=("<tool_calls>", "<answer><tool_calls>", "<answer>\n<tool_calls>", "<tool_call>"),
        read=tool_calls,
        tags=("</tool_calls>", "</tool_call>"),
    ),
    Family(
        name="hermes",  # Qwen 2.5, Qwen 3, Granite 4 and many more
        marks=(("<tool_call>",),),
        openings=("<tool_call>",),
        read=_tool_call("</tool_call>"),
        tags=("</tool_call>",),
    ),
    Family(
        name="olmo3",
        marks=(("<function_calls>",),),
        openings=("<function_calls>",),
        read=_in_python("</function_calls>"),
        bare=_bare_python,
        tags=("</function_calls>",),
    ),
    Family(
        name="llama4",
        marks=(("<|header_start|>",), ("<|python_start|>",)),
        openings=("<|python_start|>",),
        read=_in_python_or_json("<|python_end|>"),
        bare=bare_python_or_json_calls,
        tags=("<|python_end|>",),
    ),
    Family(
        name="llama3",  # 3.1 to 3.3
        marks=(("<|python_tag|>",), ("<|start_header_id|>",)),
        openings=("<|python_tag|>", FUNCTIONS.function),
        read=_llama_calls,
        bare=bare_python_or_json_calls,
    ),
)
"""The order says who wins: whoever has a mark of another one comes before it."""
