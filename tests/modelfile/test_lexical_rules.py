"""The lexical rules of a Modelfile, one by one (spec part 3.1 and 3.2)."""

from __future__ import annotations

import codecs

import pytest
from corral.modelfile import nodes
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.parser import parse
from corral.modelfile.recipe import check
from corral.modelfile.source import MAX_BYTES, Source


def read(text: str | bytes) -> list[tuple[str, ...]]:
    """Instructions as (keyword, [name or role,] value)."""
    found: list[tuple[str, ...]] = []
    for node in parse(text).instructions:
        keyword = type(node).__name__.upper()
        match node:
            case nodes.Parameter():
                found.append((keyword, node.name, node.value))
            case nodes.Message():
                found.append((keyword, node.role, node.value))
            case _:
                found.append((keyword, node.value))
    return found


def value(text: str) -> str:
    """The value of the SYSTEM instruction that follows FROM."""
    (*_, found) = read(f"FROM m\n{text}")
    return found[-1]


def messages(text: str) -> list[str]:
    with pytest.raises(ModelfileError) as caught:
        parse(text)
    return [diagnostic.message for diagnostic in caught.value.diagnostics]


ALL = """\
FROM m
LICENSE l
TEMPLATE t
SYSTEM s
ADAPTER a
DRAFT d
RENDERER r
PARSER p
REQUIRES 0.1.0
PARAMETER num_ctx 1
MESSAGE user hi
"""


def test_every_instruction_has_its_node() -> None:
    assert [line[0] for line in read(ALL)] == [line.split()[0] for line in ALL.splitlines()]


@pytest.mark.parametrize("text", [ALL.lower(), ALL.title().replace("User", "user").replace("Num_Ctx", "num_ctx")])
def test_keywords_are_read_in_any_case(text: str) -> None:
    assert [line[0] for line in read(text)] == [line[0] for line in read(ALL)]


@pytest.mark.parametrize("before", [" ", "\t", "\n", "\r\n", "\r", " \t \r\n\n ", "# comment\n", "  # FOO bar\n\n"])
def test_blanks_and_comments_before_an_instruction_mean_nothing(before: str) -> None:
    assert read(f"{before}FROM m") == read("FROM m") == [("FROM", "m")]


def test_flat_pairs_are_those_of_ollamas_parser() -> None:
    text = (
        "FROM m\nSYSTEM s\nTEMPLATE t\nADAPTER a\nDRAFT d\nRENDERER r\nPARSER p\nREQUIRES 1\nLICENSE l\n"
        "PARAMETER num_ctx 1\nMESSAGE user hi: you\n"
    )
    assert [node.flat for node in parse(text).instructions] == [
        ("model", "m"),
        ("system", "s"),
        ("template", "t"),
        ("adapter", "a"),
        ("draft", "d"),
        ("renderer", "r"),
        ("parser", "p"),
        ("requires", "1"),
        ("license", "l"),
        ("num_ctx", "1"),
        ("message", "user: hi: you"),
    ]


def test_a_parameter_called_model_passes_for_from_until_it_is_checked() -> None:
    modelfile = parse("PARAMETER model x\n")
    assert [node.flat for node in modelfile.instructions] == [("model", "x")]
    with pytest.raises(ModelfileError, match="unknown parameter 'model'"):
        check(modelfile)


def test_comments_are_kept_as_nodes() -> None:
    comments = [node for node in parse("#one\nFROM m # not one\n  # two \n").nodes if isinstance(node, nodes.Comment)]
    assert [comment.text for comment in comments] == ["one", " two"]


@pytest.mark.parametrize("end", ["", "\n", "\r", "\r\n", "\n\n", "\n# end", "\n  "])
def test_the_end_of_the_file_may_look_as_it_likes(end: str) -> None:
    assert read(f"FROM m{end}") == [("FROM", "m")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SYSTEM plain", "plain"),
        ("SYSTEM    spaces around \t ", "spaces around"),
        ("SYSTEM\ttab", "tab"),
        ("SYSTEM a\tb", "a\tb"),
        ('SYSTEM "quoted"', "quoted"),
        ('SYSTEM " kept blanks "', " kept blanks "),
        ('SYSTEM   " a "   ', " a "),
        ('SYSTEM """triple"""', "triple"),
        ('SYSTEM """ a "quoted" b """', ' a "quoted" b '),
        ('SYSTEM """a\n\n b\n"""', "a\n\n b\n"),
        ('SYSTEM "two\nlines"', "two\nlines"),
        ('SYSTEM """\nFROM x\n# no comment\n"""', "\nFROM x\n# no comment\n"),
        ('SYSTEM """a\r\nb"""', "a\r\nb"),
        ('SYSTEM ""', ""),
        ('SYSTEM """"""', ""),
        ("SYSTEM ", ""),
        ("SYSTEM \nLICENSE", None),
        ('SYSTEM "he said "x" ok"', 'he said "x" ok'),
        ('SYSTEM he said "x"', 'he said "x"'),
        ("SYSTEM 'single'", "'single'"),
        (r'SYSTEM "a\"', "a\\"),
        (r'SYSTEM "a\nb"', r"a\nb"),
        ("SYSTEM foo # c", "foo # c"),
        ('SYSTEM """a""" """b"""', 'a""" """b'),
        ('SYSTEM """"a""""', '"a"'),
        ('SYSTEM "a\n\n\n"', "a\n\n\n"),
        ('SYSTEM """\n"\n"""', '\n"\n'),
        ("SYSTEM äö😀", "äö😀"),
        ("SYSTEM a\u0301", "a\u0301"),
    ],
)
def test_values(written: str, meant: str | None) -> None:
    if meant is None:
        assert messages(f"FROM m\n{written}") == ["LICENSE needs a value on the same line"]
    else:
        assert value(written) == meant


def test_text_after_a_closing_quote_does_not_close() -> None:
    assert read('FROM m\nSYSTEM "abc" x\nPARAMETER stop "y"\n')[1:] == [("SYSTEM", 'abc" x\nPARAMETER stop "y')]


def test_there_is_no_line_continuation() -> None:
    assert messages("FROM m\nSYSTEM a \\\nand b") == ["unknown instruction 'and'"]


@pytest.mark.parametrize(
    "dropped", ["\0", "\x07", "\x1b", "\x7f", "\xa0", "\u3000", "\u200d", "\ufeff", "\u2028", "\ue000"]
)
def test_unprintable_characters_are_dropped_from_values(dropped: str) -> None:
    assert value(f"SYSTEM a{dropped}b") == "ab"
    assert value(f'SYSTEM {dropped}"""a{dropped}\nb"""{dropped}') == "a\nb"
    assert read(f"{dropped}FROM m") == [("FROM", "m")]


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        ("PARAMETER stop a b", "stop", "a b"),
        ("PARAMETER stop   a", "stop", "a"),
        ("parameter top_k\t5", "top_k", "5"),
        ('PARAMETER stop " "', "stop", " "),
        ("PARAMETER Temperature 1", "Temperature", "1"),
        ("PARAMETER  temperature 1", "", "temperature 1"),
    ],
)
def test_a_parameters_name_ends_at_one_blank(text: str, name: str, meant: str) -> None:
    assert read(f"FROM m\n{text}")[1:] == [("PARAMETER", name, meant)]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_message_has_a_role_and_a_text(role: str) -> None:
    assert read(f'FROM m\nMESSAGE {role} """a: b\nc"""')[1:] == [("MESSAGE", role, "a: b\nc")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("MESSAGE User hi", "unknown message role 'User'"),
        ("MESSAGE tool hi", "unknown message role 'tool'"),
        ("MESSAGE  user hi", "two blanks after MESSAGE"),
        ("MESSAGE user", "the line ends after the role"),
        ("MESSAGE us3r hi", "'3' cannot stand in a role"),
        ("PARAMETER top-k 1", "'-' cannot stand in a name"),
        ("PARAMETER top_k", "the line ends after the name"),
        ("PARAMETER", "PARAMETER needs a value on the same line"),
        ("SYSTEM", "SYSTEM needs a value on the same line"),
        ("FOO bar", "unknown instruction 'FOO'"),
        ("\ufeff", r"unknown instruction '\ufeff'"),
        ("FROM: m", "unknown instruction 'FROM:'"),
        ("1FROM m", "unknown instruction '1FROM'"),
        ("SYSTEMS m", "unknown instruction 'SYSTEMS'"),
        ('SYSTEM "never', 'the text that begins with " never ends'),
        ('SYSTEM """never"', 'the text that begins with """ never ends'),
        ('SYSTEM """""', 'the text that begins with """ never ends'),
        ('SYSTEM "', 'the text that begins with " never ends'),
    ],
)
def test_error_for_ill_formed_instructions(line: str, said: str) -> None:
    assert messages(f"FROM m\n{line}") == [said]
    assert messages(f"FROM m\n{line}\n") == [said]


@pytest.mark.parametrize("text", ["", "\n", "# FROM m", "SYSTEM hi"])
def test_error_without_from(text: str) -> None:
    assert messages(text) == ["no FROM line"]


ENCODED = 'FROM m\nSYSTEM """ä€😀\n"""\n'


@pytest.mark.parametrize(
    "data",
    [
        ENCODED.encode(),
        codecs.BOM_UTF8 + ENCODED.encode(),
        codecs.BOM_UTF16_LE + ENCODED.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + ENCODED.encode("utf-16-be"),
    ],
)
def test_utf8_and_utf16_are_decoded(data: bytes) -> None:
    assert read(data) == [("FROM", "m"), ("SYSTEM", "ä€😀\n")]


def test_invalid_bytes_become_replacement_characters() -> None:
    assert read(b"FROM m\nSYSTEM a\xff\xc3b") == [("FROM", "m"), ("SYSTEM", "a\ufffd\ufffdb")]
    assert read(codecs.BOM_UTF16_LE + "FROM m".encode("utf-16-le") + b"\x00\xd8")[0][0] == "FROM"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        # Behind a byte order mark Go replaces each byte, elsewhere each ill-formed sequence.
        (codecs.BOM_UTF8 + b'FROM m\nSYSTEM "\xf0\x9f\xdc"', "\ufffd\ufffd\ufffd"),
        (b'FROM m\nSYSTEM "\xf0\x9f\xdc"', "\ufffd\ufffd"),
        (codecs.BOM_UTF16_LE + "FROM m\nSYSTEM a".encode("utf-16-le") + b"\x00\xdc\x00\xdc", "a\ufffd"),
        (codecs.BOM_UTF16_LE + "FROM m\nSYSTEM a".encode("utf-16-le") + b"\x00\xd8\x61", "a\ufffd\ufffd"),
        (codecs.BOM_UTF16_BE + "FROM m\nSYSTEM a".encode("utf-16-be") + b"\xd8\x00\x00b", "a\ufffdb"),
        (codecs.BOM_UTF16_BE + "FROM m\nSYSTEM a😀".encode("utf-16-be") + b"\xdc\x00", "a😀\ufffd"),
    ],
)
def test_ill_formed_text_is_replaced_as_go_does(data: bytes, value: str) -> None:
    assert read(data)[1] == ("SYSTEM", value)


def test_the_first_ill_formed_byte_is_where_the_finding_is() -> None:
    source = Source.decode("FROM m\nSYSTEM \ufffd\nLICENSE é".encode() + b"\xff\n")
    (found,) = parse(source).findings
    assert (found.code, source.position(found.span.start)) == ("MF024", (3, 10))


def test_a_byte_order_mark_of_a_text_is_no_text() -> None:
    assert parse("\ufeffFROM m\n", "strict").findings == ()


def test_error_for_a_file_that_is_too_large() -> None:
    for text in (b" " * (MAX_BYTES + 1), " " * (MAX_BYTES + 1)):
        with pytest.raises(ModelfileError, match=r"more than 67108864 bytes"):
            parse(text)


def test_ten_thousand_instructions_are_no_problem() -> None:
    assert len(read("FROM m\n" + 'MESSAGE user "a\nb"\n' * 10_000)) == 10_001


def test_spans_are_where_things_stand() -> None:
    modelfile = parse('FROM m\r\n  PARAMETER stop  "a\r\nb" \r\n')
    parameter = modelfile.instructions[1]
    assert isinstance(parameter, nodes.Parameter)
    text = modelfile.source.text
    assert text[parameter.name_span.start : parameter.name_span.end] == "stop"
    assert text[parameter.value_span.start : parameter.value_span.end].strip() == '"a\r\nb"'
    assert modelfile.source.position(parameter.span.start) == (2, 3)
    assert modelfile.source.position(text.index("b")) == (3, 1)
