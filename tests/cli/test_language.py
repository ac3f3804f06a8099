"""`corral lint`, `fmt` and `parse`: the language's tools as a user calls them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CORRAL, ROOT, Cli

GOOD = "FROM ./tiny.gguf\nSYSTEM You are terse.\n"
DOUBTFUL = "FROM ./tiny.gguf\nPARAMETER top_p 7\n"
BAD = "FROM ./tiny.gguf\nPARAMETER top_q 7\n"
UGLY = 'from ./tiny.gguf\n\n\n\n#  a comment  \n  Parameter stop   "x"\nsystem """a\nb"""'
PRETTY = 'FROM ./tiny.gguf\n\n#  a comment\nPARAMETER stop x\nSYSTEM """a\nb"""\n'


@pytest.fixture
def here(cli: Cli, tiny_gguf: Path) -> Cli:
    (cli.folder / "tiny.gguf").write_bytes(tiny_gguf.read_bytes())
    for name, text in {"good": GOOD, "doubtful": DOUBTFUL, "bad": BAD, "ugly": UGLY, "pretty": PRETTY}.items():
        (cli.folder / name).write_text(text)
    return cli


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["good"], 0),
        (["good", "--strict"], 0),
        (["doubtful"], 0),
        (["doubtful", "--strict"], 1),
        (["bad"], 2),
        (["good", "doubtful", "bad"], 2),
        (["good", "doubtful", "--strict"], 1),
    ],
)
def test_lint_exits_with_how_bad_it_is(here: Cli, arguments: list[str], code: int) -> None:
    assert here.run("lint", *arguments).returncode == code


def test_lint_shows_line_caret_and_cure(here: Cli) -> None:
    done = here.run("lint", "bad")
    assert done.stdout == (
        "bad:2:11: error: unknown parameter 'top_q' [MF008]\n"
        " 2 | PARAMETER top_q 7\n"
        "   |           ^~~~~\n"
        "   = did you mean top_p?\n"
    )
    assert done.stderr == ""


def test_lint_reads_standard_input_relative_to_this_folder(here: Cli) -> None:
    assert here.run("lint", "-", stdin=GOOD).returncode == 0
    assert here.run("lint", "-", stdin=BAD).stdout.startswith("<stdin>:2:11: error: ")


def test_lint_looks_at_the_modelfile_of_the_folder(here: Cli) -> None:
    (here.folder / "Modelfile").write_text(BAD)
    assert here.run("lint").stdout.startswith("Modelfile:2:11: error: ")


def test_lint_speaks_to_programs(here: Cli) -> None:
    (found,) = json.loads(here.run("lint", "bad", "good", "--format", "json").stdout)
    assert (found["file"], found["code"], found["startLine"]) == ("bad", "MF008", 2)
    log = json.loads(here.run("lint", "bad", "--format", "sarif").stdout)
    assert log["runs"][0]["results"][0]["ruleId"] == "MF008"
    assert here.run("lint", "bad", "--format", "github").stdout.startswith("::error file=bad,line=2,col=11,")
    assert here.run("lint", "bad", "--format", "xml").returncode == 2


def test_lint_changes_nothing(here: Cli) -> None:
    here.run("lint", "good", "bad")
    assert not here.models.exists()


def test_lint_counts_tokens_with_the_models_own_tokenizer(cli: Cli, smollm2: Path) -> None:
    text = f"FROM {smollm2}\nPARAMETER num_ctx 16\nSYSTEM {{}}\n"
    long, short = "word " * 30, "a" * 30
    assert "the system message has 3" in cli.run("lint", "-", stdin=text.format(long)).stdout
    assert "MF035" not in cli.run("lint", "-", stdin=text.format(short)).stdout


def test_create_prints_warnings_and_creates(here: Cli) -> None:
    done = here.run("create", "x", "-f", "doubtful")
    assert done.returncode == 0
    assert "doubtful:2:17: warning: top_p is 7, which cannot be right [MF038]" in done.stderr


def test_fmt_writes_canonical_text_and_keeps_comments(here: Cli) -> None:
    here.ok("fmt", "ugly", "pretty")
    assert (here.folder / "ugly").read_text() == PRETTY
    assert (here.folder / "pretty").read_text() == PRETTY


def test_fmt_keeps_the_files_mode_and_what_a_link_points_to(here: Cli) -> None:
    (here.folder / "ugly").chmod(0o640)
    (here.folder / "link").symlink_to("ugly")
    here.ok("fmt", "link")
    assert (here.folder / "link").is_symlink()
    assert (here.folder / "ugly").read_text() == PRETTY
    assert (here.folder / "ugly").stat().st_mode & 0o777 == 0o640


def test_fmt_check_changes_nothing(here: Cli) -> None:
    done = here.run("fmt", "--check", "ugly", "pretty")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ugly: not in canonical form\n")
    assert (here.folder / "ugly").read_text() == UGLY
    assert here.run("fmt", "--check", "pretty").returncode == 0


def test_fmt_diff_shows_what_would_change(here: Cli) -> None:
    shown = here.ok("fmt", "--diff", "ugly")
    assert "-from ./tiny.gguf\n+FROM ./tiny.gguf\n" in shown
    assert (here.folder / "ugly").read_text() == UGLY
    assert here.ok("fmt", "--diff", "pretty") == ""


def test_fmt_is_a_filter(here: Cli) -> None:
    assert here.ok("fmt", "-", stdin=UGLY) == PRETTY


@pytest.mark.parametrize(
    "content", [b"FROM m\nSYSTEM caf\xff\n", b"FROM m\nFOO\n", "FROM m\nSYSTEM a\u200db\n".encode()]
)
def test_error_fmt_leaves_a_file_it_cannot_read_alone(here: Cli, content: bytes) -> None:
    (here.folder / "odd").write_bytes(content)
    assert here.run("fmt", "odd").returncode == 1
    assert (here.folder / "odd").read_bytes() == content


def test_fmt_keeps_line_ends_inside_values(here: Cli) -> None:
    (here.folder / "dos").write_bytes(b'FROM m\r\nSYSTEM """a\r\nb"""\r\n')
    here.ok("fmt", "dos")
    assert (here.folder / "dos").read_bytes() == b'FROM m\nSYSTEM """a\r\nb"""\n'


def test_parse_prints_the_pairs_with_their_lines(here: Cli) -> None:
    pairs = json.loads(here.ok("parse", "pretty", "--json"))
    assert [(pair["name"], pair["value"], pair["line"], pair["end_line"]) for pair in pairs] == [
        ("model", "./tiny.gguf", 1, 1),
        ("stop", "x", 4, 4),
        ("system", "a\nb", 5, 6),
    ]
    assert (
        here.ok("parse", "-", stdin="FROM m\nMESSAGE user hi: there\n")
        == '1\tmodel\t"m"\n2\tmessage\t"user: hi: there"\n'
    )
    assert here.run("parse", "-", stdin="FOO\n").returncode == 1


def test_parse_can_be_strict(here: Cli) -> None:
    text = "FROM m\nSYSTEM a\nSYSTEM b\n"
    assert here.run("parse", "-", stdin=text).returncode == 0
    assert here.run("parse", "-", "--strict", stdin=text).returncode == 1


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/Modelfile")), ids=lambda path: path.parent.name)
def test_the_examples_are_clean_and_canonical(cli: Cli, path: Path) -> None:
    found = json.loads(cli.ok("lint", "--strict", "--format", "json", str(path)))
    assert {one["code"] for one in found} <= {"MF056"}  # which says where the template comes from
    assert cli.ok("fmt", "--diff", str(path)) == ""


def test_fmt_goes_on_behind_a_bad_file(here: Cli) -> None:
    assert here.run("fmt", "bad", "nosuch", "ugly").returncode == 1
    assert (here.folder / "ugly").read_text() == PRETTY


def test_fmt_diff_is_a_patch(here: Cli) -> None:
    (here.folder / "odd").write_bytes("\ufefffrom m\n# form\ffeed \u2028 line\nsystem a".encode())
    patch = here.ok("fmt", "--diff", "odd")
    (here.folder / "patch").write_text(patch)
    subprocess.run(["git", "apply", "-p0", "patch"], cwd=here.folder, check=True)
    assert (here.folder / "odd").read_text() == "FROM m\n# form\ffeed \u2028 line\nSYSTEM a\n"


def test_lint_goes_on_behind_a_file_it_cannot_read(here: Cli) -> None:
    done = here.run("lint", "nosuch", "bad", "--format", "json")
    assert done.returncode == 2
    assert "nosuch: no such Modelfile" in done.stderr
    assert [found["file"] for found in json.loads(done.stdout)] == ["bad"]


def test_create_warns_of_what_lint_warns_of(here: Cli) -> None:
    text = "FROM ./tiny.gguf\nPARAMETER num_ctx 99999\nSYSTEM key AKIAABCDEFGHIJKLMNOP\n"
    said = here.run("create", "x", "-f", "-", stdin=text).stderr
    assert said.index("[MF034]") < said.index("[MF037]")


@pytest.mark.parametrize("value", ["-0", "-9.543589783494377e+19", "1e20", "100000000000000000000000"])
def test_odd_numbers_come_back(here: Cli, value: str) -> None:
    first = json.loads(
        here.ok("create", "x", "-f", "-", "--json", stdin=f"FROM ./tiny.gguf\nPARAMETER temperature {value}\n")
    )
    shown = here.ok("show", "x", "--modelfile")
    assert json.loads(here.ok("create", "y", "-f", "-", "--json", stdin=shown))["digest"] == first["digest"]


def test_error_a_name_that_is_no_text(here: Cli) -> None:
    done = subprocess.run(
        [CORRAL, "lint", b"bad\xff", "--format", "sarif"], cwd=here.folder, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"internal error" not in done.stderr
