"""The public names, used as the documentation shows them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from corral.modelfile.level import API_LEVEL

import corral
from tests.conftest import Cli


def test_every_promised_name_is_there_once() -> None:
    assert len(set(corral.__all__)) == len(corral.__all__)
    assert all(getattr(corral, name) is not None for name in corral.__all__)


def test_names_are_the_objects_of_their_rooms() -> None:
    from corral.modelfile.parser import parse
    from corral.store.name import Name

    assert corral.parse is parse
    assert corral.Name is Name
    assert corral.Name.__module__ == "corral.store.name"


def test_error_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        corral.Nope  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]


def test_error_importing_an_unknown_name_fails() -> None:
    with pytest.raises(ImportError):
        exec("from corral import nope")


def test_a_star_import_gives_exactly_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from corral import *", names)
    assert set(names) - {"__builtins__"} == set(corral.__all__)


def test_the_package_is_marked_as_typed() -> None:
    spec = importlib.util.find_spec("corral")
    assert spec is not None
    assert spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").is_file()


def test_the_module_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "corral", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"corral version is {corral.__version__} (Ollama API {API_LEVEL})\n"
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_the_script_says_its_version(cli: Cli, option: str) -> None:
    assert cli.ok(option) == f"corral version is {corral.__version__} (Ollama API {API_LEVEL})\n"


def test_parse_gives_a_syntax_tree() -> None:
    modelfile = corral.parse('FROM llama3.2\nPARAMETER temperature 0.5\nSYSTEM """You are terse."""\n')
    assert isinstance(modelfile, corral.Modelfile)
    assert [type(node).__name__ for node in modelfile.instructions] == ["From", "Parameter", "System"]
    assert [node.value for node in modelfile.instructions] == ["llama3.2", "0.5", "You are terse."]


def test_error_parse_names_every_problem_with_its_place() -> None:
    with pytest.raises(corral.ModelfileError) as caught:
        corral.parse("FRM x\nFROM y\nMESAGE user hi\n", filename="Crew")
    assert isinstance(caught.value, corral.CorralError)
    assert [type(problem) for problem in caught.value.diagnostics] == [corral.Diagnostic, corral.Diagnostic]
    assert str(caught.value).startswith("Crew:1:1: error: ")
    assert "did you mean FROM?" in caught.value.render()


def test_a_template_renders() -> None:
    template = corral.Template("{{ if .System }}[{{ .System }}] {{ end }}{{ .Prompt }} -> {{ .Response }}")
    assert template.execute({"System": "be kind", "Prompt": "hi", "Response": ""}) == "[be kind] hi -> "
    assert template.execute_open({"Prompt": "hi", "Response": ""}) == "hi -> "


def test_a_name_has_ollamas_defaults_and_its_shortest_form() -> None:
    name = corral.Name.parse("pirate")
    assert (name.host, name.namespace, name.model, name.tag) == ("registry.ollama.ai", "library", "pirate", "latest")
    assert str(name) == "pirate:latest"
    assert str(corral.Name.parse("localhost:5000/crew/pirate:v1")) == "localhost:5000/crew/pirate:v1"


def test_a_digest_is_checked_when_it_is_made() -> None:
    digest = corral.Digest.of(b"hello")
    assert str(digest) == "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert corral.Digest.parse(str(digest)) == digest
    with pytest.raises(corral.CorralError) as caught:
        corral.Digest.parse("sha256:../../etc/passwd")
    assert caught.value.hint


def test_build_and_store_make_a_model_that_can_be_read_back(tiny_gguf: Path, tmp_path: Path) -> None:
    store = corral.Store(tmp_path / "models")
    modelfile = corral.parse(f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    built = corral.build(corral.Name.parse("kind"), modelfile, store, folder=tmp_path)
    found = store.find(corral.Name.parse("kind"))
    assert isinstance(found.manifest, corral.Manifest)
    assert found.manifest.digest == built.manifest.digest
    assert corral.Manifest.parse(found.manifest.raw) == found.manifest
    assert all(isinstance(blob, corral.Descriptor) and store.blobs.has(blob) for blob in found.manifest.blobs)
    config = corral.Config.parse(store.blobs.read(found.manifest.config, 1 << 20))
    assert config.model_family == "llama"


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    store = corral.Store(tmp_path / "models")
    assert store.tags.models() == ([], [])
    assert list(tmp_path.iterdir()) == []
