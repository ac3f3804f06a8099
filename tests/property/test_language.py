"""Properties of the Modelfile language, against a reference that was written from the specification alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest
from corral.modelfile import nodes
from corral.modelfile.diagnostics import ModelfileError, render
from corral.modelfile.lexer import Scanner
from corral.modelfile.parser import parse
from corral.modelfile.printer import UnprintableError, print_instruction, print_lines
from corral.modelfile.recipe import check
from corral.modelfile.source import Source, Span
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED

CHARACTERS = st.one_of(
    st.sampled_from(list('""""#\\ \t\r\n\n::ab19_-é\u200d\xa0\x00\ufeff\u0301😀')), st.characters(codec="utf-8")
)
TEXT = st.text(CHARACTERS, max_size=30)
NAMES = "from license template system adapter draft renderer parser parameter message requires"
KEYWORDS = NAMES.split()
KEYWORD = st.sampled_from([*NAMES.upper().split(), "FROM", "from", "From", "FOO", "#"])
WORD = st.sampled_from(["stop ", "user ", "assistant\t", "tool ", "top-k ", " ", "", "'", '"', '"""', "x"])
LINE = st.builds(
    "{}{}{}{}{}{}".format,
    KEYWORD,
    st.sampled_from([" ", " ", "\t", "  ", "", "\n"]),
    WORD,
    TEXT,
    st.sampled_from(["", '"', '"""', '" ', '"""\t']),
    st.sampled_from(["\n", "\n", "\r\n", "\r", ""]),
)
MODELFILE = st.lists(st.one_of(LINE, LINE, TEXT), max_size=8).map("".join)
"""Text that is often nearly, and sometimes quite, a Modelfile."""


class RefusedError(Exception):
    """The reference stops here, as Ollama does: at the first thing that is wrong."""


def reference(text: str) -> Iterator[tuple[str, ...]]:
    """Spec part 3.2, rule by rule, one character at a time."""
    state: str = "nil"
    buffer = keyword = word = ""
    for character in text:
        match state:
            case "nil":
                if character == "#":
                    state = "comment"
                elif character not in " \t\r\n":
                    state, buffer = "name", printable(character)
            case "comment":
                if character in "\r\n":
                    state = "nil"
            case "name":
                if character in " \t":
                    if buffer.lower() not in KEYWORDS:
                        raise RefusedError
                    keyword, word, buffer = buffer.upper(), "", ""
                    state = {"PARAMETER": "word", "MESSAGE": "word"}.get(keyword, "value")
                elif character.isascii() and character.isalpha():
                    buffer += character
                else:
                    raise RefusedError
            case "word":
                letters = character.isascii() and character.isalpha()
                if character in " \t":
                    if keyword == "MESSAGE" and buffer not in ("system", "user", "assistant"):
                        raise RefusedError
                    state, word, buffer = "value", buffer, ""
                elif letters or (keyword == "PARAMETER" and (character in "0123456789_")):
                    buffer += character
                else:
                    raise RefusedError
            case _:
                if character in "\r\n":
                    value = unquoted(buffer)
                    if value is not None:
                        yield (keyword, word, value)
                        state, buffer = "nil", ""
                    else:
                        buffer += character
                else:
                    buffer += "\t" if character == "\t" else printable(character)
    if state == "value":
        value = unquoted(buffer)
        if value is None:
            raise RefusedError
        yield (keyword, word, value)
    elif state in ("name", "word"):
        raise RefusedError


def printable(character: str) -> str:
    """Letters, marks, numbers, punctuation, symbols and the ASCII space."""
    return character if character == " " or unicodedata.category(character)[0] in "LMNPS" else ""


def unquoted(buffer: str) -> str | None:
    text = buffer.strip()
    if text.startswith('"""'):
        return text[3:-3] if len(text) >= 6 and text.endswith('"""') else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text


def scanned(text: str) -> list[tuple[str, ...]] | None:
    """The scanner's instructions in the reference's form; None when it found something wrong."""
    scanner = Scanner(Source(text))
    tokens = [token for token in scanner.tokens() if token.type != "COMMENT"]
    if any(found.severity == "error" for found in scanner.diagnostics):
        return None
    found: list[tuple[str, ...]] = []
    while tokens:
        keyword = tokens.pop(0)
        word = str(tokens.pop(0)) if keyword.type in ("PARAMETER", "MESSAGE") else ""
        found.append((keyword.type, word, str(tokens.pop(0))))
    return found


def parsed(data: bytes) -> nodes.Modelfile | ModelfileError:
    try:
        return parse(data)
    except ModelfileError as error:
        return error


@pytest.mark.soak
@CHECKED
@given(MODELFILE)
@example('SYSTEM """a\n"\n""" \nFROM m')
@example('SYSTEM "\r\n"\r\nFROM m')
@example('SYSTEM """""')
@example("SYSTEM \n\n")
@example("\x00FROM m\n\x00 FROM m")
@example("PARAMETER a\x00 b")
def test_the_scanner_reads_what_the_specification_says(text: str) -> None:
    """ "The text is handled rune by rune by a 6-state machine" (3.1)."""
    # Which later characters this Python knows depends on its version.
    assume(all(unicodedata.ucd_3_2_0.category(character) != "Cn" for character in text))
    try:
        expected = list(reference(text))
    except RefusedError:
        expected = None
    assert scanned(text) == expected


@pytest.mark.soak
@CHECKED
@given(MODELFILE)
def test_printing_and_parsing_again_changes_nothing(text: str) -> None:
    """The canonical printer: parse(print(parse(x))) = parse(x)."""
    try:
        modelfile = parse(text + "\nFROM m")
    except ModelfileError:
        return
    printed, complete = print_lines(modelfile.instructions)
    if complete:
        assert parse(printed).instructions == modelfile.instructions
        assert print_lines(parse(printed).instructions) == (printed, True)


@pytest.mark.soak
@CHECKED
@given(st.lists(st.tuples(st.sampled_from(["system", "user"]), TEXT), min_size=1, max_size=4))
def test_what_can_be_printed_comes_back_in_any_company(messages: list[tuple[str, str]]) -> None:
    nowhere = Span(0, 0)
    lines: list[nodes.Instruction] = [nodes.From("m", nowhere, nowhere)]
    for role, text in messages:
        node = nodes.Message(text, nowhere, nowhere, role, nowhere)
        try:
            print_instruction(node)
        except UnprintableError:
            # Only what is dropped, or what a line that ends in quotes stands in the way of, cannot be said.
            assert text != "".join(c if c in "\t\r\n" else printable(c) for c in text) or '"' in text
        else:
            lines.append(node)
    printed, complete = print_lines(lines)
    assert complete
    assert parse(printed).instructions == tuple(lines)


@pytest.mark.soak
@CHECKED
@given(st.one_of(st.binary(max_size=200), MODELFILE.map(str.encode), MODELFILE.map(lambda text: text.encode("utf-16"))))
@example(b"MESSAGE ")
def test_any_bytes_parse_or_give_a_report(data: bytes) -> None:
    read = parsed(data)
    text = read.source.text
    if isinstance(read, nodes.Modelfile):
        for node in read.instructions:
            assert text[node.span.start :].lower().startswith(type(node).__name__.lower())
        return
    report = read.render()
    assert str(read).isprintable()
    assert all(line.isprintable() for line in report.split("\n"))
    for diagnostic in read.diagnostics:
        assert (
            0 <= diagnostic.span.start <= diagnostic.span.end <= len(text) + 1
        )  # a caret may stand just behind the end
        line, column = read.source.position(diagnostic.span.start)
        assert f"Modelfile:{line}:{column}: error: " in report


@pytest.mark.soak
@CHECKED
@given(MODELFILE)
def test_checking_a_parsed_file_gives_a_recipe_or_our_error(text: str) -> None:
    read = parsed(text.encode() + b"\nFROM m")
    if isinstance(read, ModelfileError):
        return
    try:
        recipe, warnings = check(read)
    except ModelfileError as error:
        report = error.render()
    else:
        report = "\n".join(render(warning, read.source) for warning in warnings)
        assert recipe.sources
    assert all(line.isprintable() for line in report.split("\n"))
