"""The environment: Ollama's variables in Ollama's forms, and CORRAL_ before OLLAMA_."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from corral.cli.engine import engine_defaults
from corral.cli.settings import Settings
from corral.store.errors import InputError

from tests.conftest import Cli, serving

HOSTS = {
    "": ("127.0.0.1", 11434, "http://127.0.0.1:11434"),
    "localhost": ("localhost", 11434, "http://localhost:11434"),
    ":1234": ("127.0.0.1", 1234, "http://127.0.0.1:1234"),
    "10.0.0.7": ("10.0.0.7", 11434, "http://10.0.0.7:11434"),
    "10.0.0.7:1234": ("10.0.0.7", 1234, "http://10.0.0.7:1234"),
    "0.0.0.0": ("0.0.0.0", 11434, "http://127.0.0.1:11434"),
    "0.0.0.0:1234": ("0.0.0.0", 1234, "http://127.0.0.1:1234"),
    "http://example.com": ("example.com", 80, "http://example.com:80"),
    "https://example.com": ("example.com", 443, "https://example.com:443"),
    "https://example.com:8443/ollama/": ("example.com", 8443, "https://example.com:8443/ollama"),
    "http://0.0.0.0:1234": ("0.0.0.0", 1234, "http://127.0.0.1:1234"),
    "[::1]": ("::1", 11434, "http://[::1]:11434"),
    "[::]:1234": ("::", 1234, "http://[::1]:1234"),
    "::1": ("::1", 11434, "http://[::1]:11434"),
    '  "127.0.0.1:1234" ': ("127.0.0.1", 1234, "http://127.0.0.1:1234"),
}


@pytest.mark.parametrize(("text", "host", "port", "url"), [(text, *rest) for text, rest in HOSTS.items()], ids=HOSTS)
def test_the_forms_of_ollama_host(text: str, host: str, port: int, url: str) -> None:
    settings = Settings({"OLLAMA_HOST": text})
    assert settings.address == (host, port)
    assert settings.url == url


@pytest.mark.parametrize("text", ["127.0.0.1:port", "127.0.0.1:70000", "tcp://127.0.0.1:80", ":-1", "[::1"])
def test_error_an_ollama_host_that_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="OLLAMA_HOST"):
        _ = Settings({"OLLAMA_HOST": text}).address


@pytest.mark.parametrize(
    ("text", "is_remote"),
    [
        ("", False),
        ("localhost:1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),
        ("[::1]", False),
        ("10.0.0.7", True),
        ("gpu.lan", True),
    ],
)
def test_a_host_elsewhere_is_another_machine(text: str, *, is_remote: bool) -> None:
    assert Settings({"OLLAMA_HOST": text}).is_remote is is_remote


@pytest.mark.parametrize("name", ["HOST", "MODELS", "KEEP_ALIVE", "NUM_PARALLEL", "DEBUG", "CONTEXT_LENGTH", "ORIGINS"])
def test_corrals_own_variable_wins_unless_it_is_empty(name: str) -> None:
    assert Settings({f"OLLAMA_{name}": "a", f"CORRAL_{name}": "b"}).text(name) == "b"
    assert Settings({f"OLLAMA_{name}": "a", f"CORRAL_{name}": " "}).text(name) == "a"
    assert Settings({f"CORRAL_{name}": "b"}).text(name) == "b"
    assert Settings({}).text(name) == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 300), ("90", 90), ("1h", 3600), ("0", 0), ("-1", math.inf), ("-5m", math.inf)]
)
def test_keep_alive(text: str, seconds: float) -> None:
    assert engine_defaults(Settings({"OLLAMA_KEEP_ALIVE": text})).keep_alive == seconds


@pytest.mark.parametrize(("text", "slots"), [("", 4), ("1", 1), ("8", 8), ("0", 1)])
def test_num_parallel(text: str, slots: int) -> None:
    assert engine_defaults(Settings({"OLLAMA_NUM_PARALLEL": text})).slots == slots


def test_the_engines_other_variables() -> None:
    variables = {"OLLAMA_CONTEXT_LENGTH": "2048", "CORRAL_NUM_THREAD": "2", "CORRAL_DETERMINISTIC": "1"}
    defaults = engine_defaults(Settings(variables))
    assert (defaults.num_ctx, defaults.num_thread, defaults.deterministic) == (2048, 2, True)


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "٣", "9" * 13])
def test_error_a_count_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="NUM_PARALLEL") as caught:
        engine_defaults(Settings({"OLLAMA_NUM_PARALLEL": text}))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "on"),
    [
        *[(text, False) for text in ("", "0", "false", "F", "off", "No")],
        *[(text, True) for text in ("1", "yes", "2", "on")],
    ],
)
def test_flags_are_on_for_anything_but_words_for_no(text: str, *, on: bool) -> None:
    assert Settings({"OLLAMA_DEBUG": text}).flag("DEBUG") is on


@pytest.mark.parametrize(
    ("words", "is_given"),
    [
        (("1", "t", "T", "true", "True", "TRUE", "y", "yes", "on", "On"), True),
        (("", " ", "0", "f", "F", "false", "False", "FALSE", "n", "no", "No", "off"), False),
    ],
)
def test_what_opens_the_server_takes_a_yes(words: tuple[str, ...], *, is_given: bool) -> None:
    for word in words:
        assert Settings({"CORRAL_ALLOW_MANAGE": word}).consent("ALLOW_MANAGE") is is_given


@pytest.mark.parametrize("word", ["2", "never", "disabled", "none", "-", "no way", "ja"])
def test_error_a_word_that_is_neither_yes_nor_no_opens_nothing(word: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings({"OLLAMA_ALLOW_MANAGE": word}).consent("ALLOW_MANAGE")
    assert str(caught.value) == f'OLLAMA_ALLOW_MANAGE: "{word}" says neither yes nor no'
    assert caught.value.hint == "write 1 for yes, or 0 for no"


def test_error_a_server_does_not_start_on_half_a_word(cli: Cli) -> None:
    said = cli.error(1, "serve", OLLAMA_HOST="127.0.0.1:0", CORRAL_ALLOW_MANAGE="maybe")
    assert 'CORRAL_ALLOW_MANAGE: "maybe" says neither yes nor no' in said


def test_the_store_is_in_the_home_folder_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings({}).models == tmp_path / ".ollama" / "models"
    assert Settings({"OLLAMA_MODELS": "~/store"}).models == tmp_path / "store"
    assert Settings({"OLLAMA_MODELS": '"/srv/models"'}).models == Path("/srv/models")


def test_models_names_the_store_of_every_verb(cli: Cli, tiny_gguf: Path) -> None:
    other = cli.folder / "other"
    cli.ok("create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n", CORRAL_MODELS=str(other))
    assert not cli.models.exists()
    assert (other / "manifests/registry.ollama.ai/library/x/latest").is_file()
    assert "x:latest" in cli.ok("list", OLLAMA_MODELS=str(other))
    assert "x:latest" not in cli.ok("list")


def test_verbs_that_change_the_store_refuse_another_machines(cli: Cli, tiny_gguf: Path) -> None:
    remote = {"OLLAMA_HOST": "10.255.255.1:11434"}
    text = f"FROM {tiny_gguf}\n"
    for arguments in (["create", "x", "-f", "-"], ["rm", "x"], ["cp", "x", "y"], ["gc"], ["pull", "x"], ["push", "x"]):
        assert "names another machine" in cli.error(1, *arguments, stdin=text, **remote)
    assert not cli.models.exists()
    cli.ok("create", "x", "-f", "-", "--local", stdin=text, **remote)
    assert "x:latest" in cli.ok("list", "--local", **remote)


def test_a_server_listens_where_corral_host_says(cli: Cli, tiny_gguf: Path) -> None:
    cli.ok("create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    with serving(cli) as url:
        address = url.removeprefix("http://")
        assert json.loads(cli.ok("ps", "--json", CORRAL_HOST=address)) == {"models": []}
        assert json.loads(cli.ok("ps", "--json", OLLAMA_HOST=url)) == {"models": []}
        assert json.loads(cli.ok("ps", "--json", OLLAMA_HOST=f":{address.rpartition(':')[2]}")) == {"models": []}


def test_an_empty_store_beside_a_server_with_models_is_said(cli: Cli, tiny_gguf: Path, tmp_path: Path) -> None:
    cli.ok("create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    with serving(cli) as url:
        done = Cli(tmp_path / "empty", cli.folder).run("list", OLLAMA_HOST=url)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert f"the server at {url} has 1 models" in done.stderr
