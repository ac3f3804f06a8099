"""Bad input: one clear error on stderr, the documented exit code, and a store that is as it was before."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CORRAL, Cli


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    """A store with the model `small`."""
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    return cli


def huge_count() -> bytes:
    """A GGUF that claims 2^60 metadata pairs."""
    return b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60) + bytes(64)


WRONG_MODELFILES = {
    "missing file": ("FROM ./nope.gguf\n", 1, ":1:6: error: no such file: "),
    "bad parameter value": ("FROM small\nPARAMETER temperature hot\n", 1, ":2:23: error: invalid float value [hot]"),
    "unknown parameter": ("FROM small\nPARAMETER temprature 1\n", 1, "temperature"),
    "unknown instruction": ("FROM small\nSYSTM hi\n", 1, "did you mean SYSTEM?"),
    "no FROM": ("SYSTEM hi\n", 1, "no FROM line"),
    "empty": ("", 1, "no FROM line"),
    "name that climbs": ("FROM a/../b\n", 1, "no model name"),
    "adapter that is no file": ("FROM small\nADAPTER ./nope.gguf\n", 1, ":2:9: error: no such file: "),
    "template that does not parse": ('FROM small\nTEMPLATE "{{ if }"\n', 1, "template error"),
    "unclosed quotes": ('FROM small\nSYSTEM """hi\n', 1, ":2:"),
    "a device": ("FROM /dev/zero\n", 1, "not a regular file"),
    "folder without weights": ("FROM ./\n", 1, "no GGUF file in"),
}


@pytest.mark.parametrize(("text", "code", "words"), WRONG_MODELFILES.values(), ids=WRONG_MODELFILES)
def test_error_create_from_a_wrong_modelfile(small: Cli, text: str, code: int, words: str) -> None:
    before = small.files()
    assert words in small.error(code, "create", "x", "-f", "-", stdin=text)
    assert small.files() == before


@pytest.mark.parametrize("kind", ["truncated header", "truncated data", "2^60 pairs", "empty", "text", "zeros"])
def test_error_create_from_a_damaged_gguf(small: Cli, tiny_gguf: Path, kind: str) -> None:
    whole = tiny_gguf.read_bytes()
    damaged = {
        "truncated header": whole[:100],
        "truncated data": whole[:-1],
        "2^60 pairs": huge_count(),
        "empty": b"",
        "text": b"this is no model\n",
        "zeros": bytes(4096),
    }[kind]
    (small.folder / "damaged.gguf").write_bytes(damaged)
    before = small.files()
    said = small.error(3, "create", "x", "-f", "-", stdin="FROM ./damaged.gguf\n")
    assert "damaged.gguf: invalid GGUF: " in said
    assert "  hint: " in said
    assert small.files() == before


def test_error_create_from_the_real_model_cut_short(small: Cli, smollm2: Path) -> None:
    with smollm2.open("rb") as file:
        (small.folder / "cut.gguf").write_bytes(file.read(4 << 20))
    before = small.files()
    assert "truncated" in small.error(3, "create", "x", "-f", "-", stdin="FROM ./cut.gguf\n")
    assert small.files() == before


def test_error_a_modelfile_that_is_missing_or_a_folder_or_unreadable(small: Cli) -> None:
    before = small.files()
    assert small.error(1, "create", "x").startswith("Error: Modelfile: no such Modelfile\n  hint: ")
    assert small.error(1, "create", "x", "-f", "no/such").startswith("Error: no/such: no such Modelfile\n")
    (small.folder / "Modelfile").mkdir()
    assert small.error(1, "create", "x").startswith("Error: Modelfile: is a folder\n  hint: ")
    assert "cannot read" in small.error(5, "create", "x", "-f", "/proc/self/mem")
    assert small.files() == before


@pytest.mark.parametrize("kind", ["random", "gguf", "endless"])
def test_error_a_binary_modelfile_is_one_error(small: Cli, tiny_gguf: Path, kind: str) -> None:
    noise = small.folder / "noise"
    noise.write_bytes(random.Random(7).randbytes(5000))
    file = {"random": noise, "gguf": tiny_gguf, "endless": Path("/dev/zero")}[kind]
    before = small.files()
    assert small.error(1, "create", "x", "-f", str(file)).startswith(
        f"Error: {file}: is a binary file, not a Modelfile\n"
    )
    assert small.files() == before


def test_a_modelfile_in_utf16_is_not_binary(small: Cli) -> None:
    (small.folder / "Modelfile").write_bytes("FROM small\nSYSTEM Grüß Gott\n".encode("utf-16"))
    small.ok("create", "x")
    assert small.ok("show", "x", "--system") == "Grüß Gott"


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../b", "a/b/c/d", "", ".hidden", "a b", "x:", "x@sha256:abc", "ftp://x/y/z", "a\x1bb"]
)
def test_error_names_that_are_no_names(small: Cli, name: str) -> None:
    before = small.files()
    for arguments in (["rm", name], ["create", name, "-f", "-"]):
        said = small.error(1, *arguments, stdin="FROM small\n")
        assert "invalid model name" in said
        assert "\x1b" not in said
    assert small.files() == before


def test_error_every_verb_refuses_a_name_that_climbs(small: Cli) -> None:
    before = small.files()
    for arguments in (["show", "../x"], ["cp", "small", "../x"], ["push", "../x"], ["pull", "../x"]):
        assert "invalid model name" in small.error(1, *arguments)
    assert small.files() == before


@pytest.mark.parametrize("verb", ["show", "rm", "push", "cp"])
def test_error_an_unknown_model(small: Cli, verb: str) -> None:
    before = small.files()
    said = small.error(1, verb, "nope", *(["other"] if verb == "cp" else []))
    assert "Error: model 'nope:latest' not found\n  hint: " in said
    assert small.files() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["show"],
        ["create"],
        ["cp", "small"],
        ["rm"],
        ["list", "--frob"],
        ["gc", "--older-than", "soon"],
        ["list", "a", "b"],
    ],
    ids=" ".join,
)
def test_error_a_wrong_command_line_is_2(small: Cli, arguments: list[str]) -> None:
    before = small.files()
    assert "Usage: corral" in small.error(2, *arguments)
    assert small.files() == before


def test_no_arguments_show_the_help(cli: Cli) -> None:
    done = cli.run()
    assert "Usage: corral [OPTIONS] COMMAND" in done.stdout + done.stderr
    assert not cli.models.exists()


@pytest.mark.parametrize("kind", ["below a file", "a file", "proc", "read-only device"])
def test_error_a_store_that_cannot_be_written(cli: Cli, tiny_gguf: Path, kind: str) -> None:
    file = cli.folder / "file"
    file.write_text("not a folder")
    models = {
        "below a file": file / "models",
        "a file": file,
        "proc": Path("/proc/models"),
        "read-only device": Path("/dev/null/x"),
    }[kind]
    said = Cli(models, cli.folder).error(5, "create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    assert f"Error: {models}" in said
    assert "  hint: " in said or kind == "proc"
    assert file.read_text() == "not a folder"


def test_reading_a_store_that_cannot_be_written_works(cli: Cli) -> None:
    nowhere = Cli(Path("/proc/models"), cli.folder)
    assert len(nowhere.ok("list").splitlines()) == 1
    assert "not found" in nowhere.error(1, "show", "x")


def test_error_a_store_of_a_future_format(small: Cli) -> None:
    (small.models / ".corral" / "format").write_text("99\n")
    assert "store format '99'" in small.error(5, "list")


def test_error_a_damaged_manifest(small: Cli) -> None:
    manifest = small.models / "manifests/registry.ollama.ai/library/small/latest"
    manifest.write_bytes(b'{"schemaVersion":2')
    before = small.files()
    for arguments in (["show", "small"], ["cp", "small", "other"], ["push", "small"]):
        assert "small:latest: invalid manifest" in small.error(3, *arguments)
    assert "nothing was collected" in small.error(3, "gc")
    assert small.files() == before
    small.ok("rm", "small")
    assert not manifest.exists()


def test_error_a_blob_that_is_gone_or_changed(small: Cli) -> None:
    shown = json.loads(small.ok("show", "small", "--json"))
    weights = small.models / "blobs" / shown["layers"][0]["digest"].replace(":", "-")
    system = small.models / "blobs" / shown["layers"][1]["digest"].replace(":", "-")
    system.write_bytes(b"Be evil!"[: system.stat().st_size])
    changed = small.error(3, "show", "small")
    assert f"expected {shown['layers'][1]['digest']}, got sha256:" in changed
    weights.unlink()
    for arguments in (["show", "small"], ["cp", "small", "b"], ["create", "b", "-f", "-"]):
        assert "not in the store" in small.error(3, *arguments, stdin="FROM small\n")
    assert "not in the store" in small.error(3, "push", "small")


def test_error_more_than_one_field(small: Cli) -> None:
    said = small.error(1, "show", "small", "--system", "--template")
    assert (
        "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified" in said
    )


def test_error_no_server(small: Cli) -> None:
    for arguments in (["ps"], ["stop", "small"]):
        said = small.error(4, *arguments)
        assert (
            said == "Error: http://127.0.0.1:1: could not connect to the server\n  hint: start it with: corral serve\n"
        )


def test_error_serve_on_a_port_in_use(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = cli.error(5, "serve", OLLAMA_HOST=address)
    assert said.startswith(f"Error: {address}: cannot listen: Address already in use")
    assert "  hint: " in said
    assert not cli.models.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"OLLAMA_HOST": "127.0.0.1:99999"},
        {"OLLAMA_HOST": "ftp://127.0.0.1"},
        {"OLLAMA_NUM_PARALLEL": "many"},
        {"OLLAMA_KEEP_ALIVE": "soon"},
        {"OLLAMA_CONTEXT_LENGTH": "-5"},
        {"OLLAMA_MAX_QUEUE": "1e3"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_error_serve_with_a_variable_that_means_nothing(cli: Cli, variables: dict[str, str]) -> None:
    assert next(iter(variables.values())) in cli.error(1, "serve", **variables)


def test_error_an_address_that_is_nobodys(cli: Cli) -> None:
    assert "cannot listen" in cli.error(5, "serve", OLLAMA_HOST="no-such-host.invalid:1234")


@pytest.mark.parametrize("reader", ["true", "head -0", "head -1"])
def test_a_reader_that_leaves_early_is_no_error(small: Cli, reader: str) -> None:
    for number in range(3):
        small.ok("cp", "small", f"copy{number}")
    script = f"set -o pipefail; {CORRAL} list | {reader}; exit ${{PIPESTATUS[0]}}"
    for _ in range(3):
        done = subprocess.run(
            ["bash", "-c", script], env=small.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_an_interruption_is_130(small: Cli) -> None:
    process = subprocess.Popen(
        [CORRAL, "create", "x", "-f", "-"],
        env=small.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = small.files()
    assert process.stderr is not None
    # It waits for the Modelfile; the interpreter handles the signal as soon as it has started.
    os.set_blocking(process.stderr.fileno(), False)
    _wait_until_reading(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert "Traceback" not in (process.stderr.read() or "")
    assert small.files() == before
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def _wait_until_reading(pid: int) -> None:
    """Until the process waits in read(2) on its standard input."""
    syscall = Path(f"/proc/{pid}/syscall")
    while not syscall.read_text().startswith("0 0x0 "):
        assert Path(f"/proc/{pid}").exists()


def test_error_run_of_a_model_with_a_missing_blob(small: Cli) -> None:
    layers = json.loads(small.ok("show", "small", "--json"))["layers"]
    (system,) = [layer["digest"] for layer in layers if layer["mediaType"].endswith(".system")]
    (small.models / "blobs" / system.replace(":", "-")).unlink()
    assert f"blob {system}: not in the store" in small.error(3, "run", "small", "hi")


def test_error_run_without_an_engine(small: Cli, tmp_path: Path) -> None:
    stub = tmp_path / "stub" / "llama_cpp"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text('raise ModuleNotFoundError("No module named llama_cpp", name="llama_cpp")\n')
    said = small.error(5, "run", "small", "hi", PYTHONPATH=str(stub.parent))
    assert "the engine is not installed" in said
    assert "make setup" in said
