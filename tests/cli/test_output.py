"""What the verbs print: Ollama's tables for people, JSON with digests for programs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.conftest import Cli

HEX64 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    """A store with the model `small`."""
    text = (
        f"FROM {tiny_gguf}\nSYSTEM Be kind.\nPARAMETER temperature 0.5\nPARAMETER stop <a>\nPARAMETER stop <b>\n"
        'TEMPLATE "{{ .System }} {{ .Prompt }}"\nLICENSE """First\n\nSecond\nThird"""\nMESSAGE user hi\n'
    )
    cli.ok("create", "small", "-f", "-", stdin=text)
    return cli


def manifest_file(cli: Cli, model: str, tag: str = "latest") -> Path:
    return cli.models / "manifests/registry.ollama.ai/library" / model / tag


def test_create_prints_the_name_the_digest_and_every_layer(cli: Cli, tiny_gguf: Path) -> None:
    done = cli.run("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    first, *layers = done.stdout.splitlines()
    digest = hashlib.sha256(manifest_file(cli, "small").read_bytes()).hexdigest()
    assert first == f"small:latest sha256:{digest}"
    assert [line.split()[-1].rpartition(".")[2] for line in layers] == ["model", "system", "v1+json"]
    assert all(DIGEST.fullmatch(line.split()[0]) for line in layers)
    assert done.stderr.splitlines()[-2:] == ["writing manifest", "success"]


def test_create_says_on_stderr_which_layers_are_new(small: Cli, tiny_gguf: Path) -> None:
    text = f"FROM {tiny_gguf}\nSYSTEM Be brief.\n"
    steps = small.run("create", "other", "-f", "-", stdin=text).stderr.splitlines()
    assert sum(line.startswith("using existing layer sha256:") for line in steps) == 2
    assert sum(line.startswith("creating new layer sha256:") for line in steps) == 1


def test_create_as_json_gives_the_manifests_parts(cli: Cli, tiny_gguf: Path) -> None:
    made = json.loads(cli.ok("create", "small", "-f", "-", "--json", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n"))
    raw = manifest_file(cli, "small").read_bytes()
    assert made["name"] == "small:latest"
    assert made["digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert made["config"] == json.loads(raw)["config"]
    assert made["layers"] == json.loads(raw)["layers"]
    assert made["layers"][0]["size"] == tiny_gguf.stat().st_size


def test_create_reads_a_modelfile_named_modelfile_and_paths_from_its_folder(cli: Cli, tiny_gguf: Path) -> None:
    project = cli.folder / "project"
    project.mkdir()
    (project / "weights.gguf").write_bytes(tiny_gguf.read_bytes())
    (project / "Modelfile").write_text("FROM ./weights.gguf\n")
    outside = cli.ok("create", "small", "-f", "project/Modelfile")
    assert Cli(cli.models, project).ok("create", "small") == outside


def test_list_is_ollamas_table(small: Cli) -> None:
    header, row = small.ok("list").splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    digest = hashlib.sha256(manifest_file(small, "small").read_bytes()).hexdigest()
    cells = re.split(r" {2,}", row.rstrip())
    assert cells[:2] == ["small:latest", digest[:12]]
    assert re.fullmatch(r"\d+(\.\d)? (B|KB)", cells[2])
    assert re.fullmatch(r"(Less than a second|\d+ seconds?) ago", cells[3])
    assert [header.index(word) for word in ("ID", "SIZE")] == [row.index(cells[1]), row.index(cells[2])]
    assert row.endswith("ago    ")


def test_list_of_an_empty_store_is_the_header_alone(cli: Cli) -> None:
    assert cli.ok("list").split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert json.loads(cli.ok("list", "--json")) == {"models": []}
    assert not cli.models.exists()


@pytest.mark.parametrize(
    ("age", "words"), [(90, "About a minute"), (3600 * 5, "5 hours"), (86400 * 3, "3 days"), (86400 * 800, "2 years")]
)
def test_list_tells_the_age(small: Cli, age: int, words: str) -> None:
    moment = time.time() - age
    os.utime(manifest_file(small, "small"), (moment, moment))
    assert f"{words} ago" in small.ok("list")


def test_list_has_the_newest_first_and_takes_a_prefix_of_any_case(small: Cli) -> None:
    for count, name in enumerate(["alpha", "beta"]):
        small.ok("cp", "small", name)
        os.utime(manifest_file(small, name), (1_000_000 + count, 1_000_000 + count))
    assert [line.split()[0] for line in small.ok("ls").splitlines()[1:]] == [
        "small:latest",
        "beta:latest",
        "alpha:latest",
    ]
    assert [line.split()[0] for line in small.ok("list", "BE").splitlines()[1:]] == ["beta:latest"]


def test_list_as_json_has_whole_digests(small: Cli) -> None:
    (entry,) = json.loads(small.ok("list", "--json"))["models"]
    assert entry["name"] == entry["model"] == "small:latest"
    assert entry["digest"] == hashlib.sha256(manifest_file(small, "small").read_bytes()).hexdigest()
    assert entry["details"]["family"] == "llama"
    assert isinstance(entry["size"], int)


def test_list_warns_of_a_damaged_manifest_and_shows_the_others(small: Cli) -> None:
    small.ok("cp", "small", "broken")
    manifest_file(small, "broken").write_bytes(b"")
    done = small.run("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["small:latest"]
    assert done.stderr.startswith("Warning: broken:latest: invalid manifest")


def test_show_has_ollamas_sections_and_the_layers(small: Cli) -> None:
    text = small.ok("show", "small")
    sections = [line.strip() for line in text.splitlines() if re.fullmatch(r" {2}\w.*", line)]
    assert sections == ["Model", "Capabilities", "Parameters", "System", "License", "Manifest", "Layers"]
    assert re.search(r"^ {4}architecture +llama", text, re.MULTILINE)
    assert re.search(r"^ {4}context length +256", text, re.MULTILINE)
    assert re.search(r'^ {4}stop +"<a>" *\n {4}stop +"<b>"', text, re.MULTILINE)
    assert re.search(r"^ {4}First *\n {4}Second *\n {4}\.\.\.", text, re.MULTILINE)
    raw = manifest_file(small, "small").read_bytes()
    assert f"    sha256:{hashlib.sha256(raw).hexdigest()}" in text
    assert all(layer["digest"] in text for layer in json.loads(raw)["layers"])


def test_show_verbose_adds_metadata_and_tensors(small: Cli) -> None:
    text = small.ok("show", "small", "--verbose")
    assert re.search(r"^ {4}general\.architecture +llama", text, re.MULTILINE)
    assert re.search(r"^ {4}token_embd\.weight +F32 +\[8\]", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "printed"),
    [
        ("--system", "Be kind."),
        ("--template", "{{ .System }} {{ .Prompt }}"),
        ("--license", "First\n\nSecond\nThird\n"),
    ],
)
def test_show_prints_one_field_as_it_is(small: Cli, option: str, printed: str) -> None:
    assert small.ok("show", "small", option) == printed


def test_show_parameters_is_a_line_each(small: Cli) -> None:
    lines = small.ok("show", "small", "--parameters").splitlines()
    assert [line.split() for line in lines] == [["stop", '"<a>"'], ["stop", '"<b>"'], ["temperature", "0.5"]]
    assert {line.index(line.split()[1]) for line in lines} == {31}


def test_show_as_json_has_the_digests_of_all_parts(small: Cli) -> None:
    reply = json.loads(small.ok("show", "small", "--json"))
    raw = manifest_file(small, "small").read_bytes()
    assert reply["name"] == "small:latest"
    assert reply["digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert reply["layers"] == json.loads(raw)["layers"]
    assert reply["config"] == json.loads(raw)["config"]
    assert reply["system"] == "Be kind."
    assert reply["messages"] == [{"role": "user", "content": "hi"}]
    assert reply["capabilities"] == ["completion"]


def test_show_finds_a_model_by_its_digest_and_in_any_case(small: Cli) -> None:
    digest = json.loads(small.ok("show", "small", "--json"))["digest"]
    assert small.ok("show", f"small@{digest}", "--system") == "Be kind."
    assert small.ok("show", "SMALL", "--system") == "Be kind."


def test_show_prints_no_control_characters_of_a_model(cli: Cli, tiny_gguf: Path) -> None:
    license_text = cli.folder / "license"
    license_text.write_text("free\n")
    cli.ok("create", "evil", "-f", "-", stdin=f"FROM {tiny_gguf}\nLICENSE free\n")
    reply = json.loads(cli.ok("show", "evil", "--json"))
    layer = next(layer for layer in reply["layers"] if layer["mediaType"].endswith("license"))
    evil = b"free\x1b]0;owned\x07\x1b[2J\n"
    digest = hashlib.sha256(evil).hexdigest()
    (cli.models / "blobs" / f"sha256-{digest}").write_bytes(evil)
    raw = manifest_file(cli, "evil").read_text()
    raw = raw.replace(layer["digest"], f"sha256:{digest}").replace(f'"size":{layer["size"]}', f'"size":{len(evil)}')
    manifest_file(cli, "evil").write_text(raw)
    for arguments in (["show", "evil"], ["show", "evil", "--license"]):
        printed = cli.ok(*arguments)
        assert "free" in printed
        assert "\x1b" not in printed
        assert "\x07" not in printed


def test_cp_and_rm_say_what_they_did(small: Cli) -> None:
    before = small.files()
    assert small.ok("cp", "small", "crew/other:v2") == "copied 'small' to 'crew/other:v2'\n"
    added = small.files().keys() - before.keys()
    assert added == {"manifests/registry.ollama.ai/crew/other/v2"}
    assert small.ok("rm", "crew/other:v2", "small") == "deleted 'crew/other:v2'\ndeleted 'small'\n"
    assert [name for name in small.files() if not name.startswith(".corral/")] == []


def test_rm_removes_those_before_the_first_that_is_missing(small: Cli) -> None:
    small.ok("cp", "small", "other")
    done = small.run("rm", "small", "nope", "other")
    assert (done.returncode, done.stdout) == (1, "deleted 'small'\n")
    assert done.stderr.startswith("Error: model 'nope:latest' not found\n")
    assert [line.split()[0] for line in small.ok("list").splitlines()[1:]] == ["other:latest"]


def test_gc_says_what_it_removed(small: Cli) -> None:
    kept = small.files()
    left = small.models / ".corral" / "ingest" / "left"
    left.write_bytes(b"x" * 2000)
    assert small.ok("gc") == "freed 2 KB: 0 blobs, 1 unfinished files\n"
    assert small.files() == kept
    manifest_file(small, "small").unlink()
    removed = json.loads(small.ok("gc", "--json"))
    assert {digest.replace(":", "-") for digest in removed["blobs"]} == {
        Path(name).name for name in kept if name.startswith("blobs/")
    }
    assert removed["debris"] == 0


def test_gc_takes_a_foreign_blob_only_when_it_is_old(small: Cli) -> None:
    foreign = small.models / "blobs" / f"sha256-{hashlib.sha256(b'foreign').hexdigest()}"
    foreign.write_bytes(b"foreign")
    small.ok("gc")
    assert foreign.exists()
    assert "freed 7 B: 1 blobs" in small.ok("gc", "--older-than", "0")
    assert not foreign.exists()


def test_help_names_every_verb_and_the_exit_codes(cli: Cli) -> None:
    text = cli.ok("--help")
    listed = set(re.findall(r"^ {2}(\w+) ", text, re.MULTILINE))
    assert listed >= {"serve", "create", "show", "run", "stop", "pull", "push", "list", "ps", "cp", "rm", "gc"}
    assert all(code in text for code in ("1 wrong input", "3 damaged data", "130 interrupted"))
    assert cli.run("-h").stdout == text


@pytest.mark.parametrize(
    "verb", ["serve", "create", "show", "run", "stop", "pull", "push", "list", "ps", "cp", "rm", "gc"]
)
def test_every_verb_has_help(cli: Cli, verb: str) -> None:
    assert f"corral {verb} [OPTIONS]" in cli.ok(verb, "--help")
