"""`corral doctor`: what it finds, and the exit code that says what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corral.cli.checkup import instruction_sets
from corral.cli.settings import Settings
from corral.cli.variables import OLLAMAS, OTHERS, READ, faults, unread

from tests.conftest import ROOT, Cli, serving


def findings(cli: Cli, code: int = 0, **variables: str) -> dict[str, list[dict[str, Any]]]:
    """What was found, by what was looked at."""
    done = cli.run("doctor", "--json", **variables)
    assert done.returncode == code, done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_everything_is_looked_at(cli: Cli) -> None:
    found = findings(cli)
    assert set(found) >= {"engine", "instructions", "devices", "threads", "memory", "store", "server", "settings"}
    assert all(finding["state"] != "wrong" for several in found.values() for finding in several)
    (engine,) = found["engine"]
    assert engine["version"].startswith(_pinned())
    (devices,) = found["devices"]
    assert any(device["kind"] == "cpu" for device in devices["devices"])
    (threads,) = found["threads"]
    assert threads["threads"] == 1  # CORRAL_NUM_THREAD of the tests
    assert threads["cores"] >= 1
    (memory,) = found["memory"]
    assert 0 < memory["available"] <= memory["total"]
    (store,) = found["store"]
    assert (store["path"], store["models"]) == (str(cli.models), 0)
    assert store["free"] > 0


def test_looking_makes_no_store(cli: Cli) -> None:
    findings(cli)
    assert not cli.models.exists()


def test_the_table_has_a_line_for_each_and_the_cures_below(cli: Cli) -> None:
    table, _, cures = cli.ok("doctor", CORRAL_NUM_THREAD="999").partition("\n\n")
    header, *lines = table.splitlines()
    assert header.split() == ["CHECK", "STATE", "FOUND"]
    threads = next(line for line in lines if line.startswith("threads"))
    assert threads.split()[1] == "slow"
    assert "999 threads" in threads
    assert "for the threads: unset CORRAL_NUM_THREAD\n" in cures


def test_the_engine_is_not_loaded_into_the_command(cli: Cli) -> None:
    script = "import sys; from corral.cli.main import run; sys.exit(run(['doctor']) or 'llama_cpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=cli.environment, capture_output=True, check=False)
    assert done.returncode == 0


def test_error_an_engine_that_is_missing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").touch()  # found before the real one, and no package
    found = findings(cli, 5, PYTHONPATH=str(tmp_path))
    (engine,) = found["engine"]
    assert engine["state"] == "wrong"
    assert "not installed" in engine["found"]
    assert engine["cure"]
    assert "store" in found  # the rest is looked at all the same


def test_error_an_engine_that_is_broken(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "libllama.so").write_bytes(b"no library")
    (engine,) = findings(cli, 5, LLAMA_CPP_LIB_PATH=str(tmp_path))["engine"]
    assert "broken" in engine["found"]
    assert engine["cure"]


def test_error_the_engine_is_told_of_before_anything_else(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").touch()
    done = cli.run("doctor", PYTHONPATH=str(tmp_path), OLLAMA_NUM_PARALLEL="many")
    assert done.returncode == 5
    assert done.stderr == "Error: 2 things to put right, first of all the engine\n"


def test_error_variables_that_mean_nothing_are_all_named(cli: Cli) -> None:
    variables = {"OLLAMA_NUM_PARALLEL": "many", "CORRAL_MAX_QUEUE": "-1", "OLLAMA_KEEP_ALIVE": "a while"}
    wrong = [finding for finding in findings(cli, 1, **variables)["settings"] if finding["state"] == "wrong"]
    assert {finding["found"].split(":")[0] for finding in wrong} == set(variables)
    assert all(finding["cure"] for finding in wrong)


def test_variables_that_are_not_read_are_only_noted(cli: Cli) -> None:
    settings = findings(cli, OLLAMA_NOPRUNE="1", CORRAL_NUM_THREDS="2")["settings"]
    assert [finding["found"] for finding in settings if finding["state"] == "note"] == [
        '"CORRAL_NUM_THREDS": there is no such variable',
        "OLLAMA_NOPRUNE: Corral does not use it",
    ]


def test_a_variable_hides_no_other() -> None:
    settings = Settings({"OLLAMA_KEEP_ALIVE": "x", "OLLAMA_CONTEXT_LENGTH": "x", "OLLAMA_HOST": "[", "HOME": "x"})
    assert len(faults(settings)) == 3
    assert unread(settings) == []


def test_the_table_of_variables_is_what_is_read() -> None:
    call = re.compile(r"(?:settings|self|from_environment\(\))\.(?:text|count|flag|variable)\(\"([A-Z][A-Z_]+)\"")
    read = {name for path in (ROOT / "cli").glob("*.py") for name in call.findall(path.read_text())}
    table = re.findall(r"^\| (`(?:OLLAMA|CORRAL)_.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {name for cell in table for name in re.findall(r"`(?:OLLAMA|CORRAL)_([A-Z_]+)`", cell)}
    assert len(told) > 20
    assert read | told <= READ
    assert not {f"OLLAMA_{name}" for name in READ} & (OLLAMAS | OTHERS)


def test_error_a_model_without_a_blob(cli: Cli, tiny_gguf: Path) -> None:
    cli.ok("create", "m", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    for blob in cli.models.glob("blobs/*"):
        blob.unlink()
    found = findings(cli, 3)
    (model,) = found["model"]
    assert model["cure"]
    assert found["store"][0]["models"] == 1


def test_error_a_manifest_that_cannot_be_read(cli: Cli, tiny_gguf: Path) -> None:
    cli.ok("create", "m", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    (manifest,) = (path for path in (cli.models / "manifests").rglob("latest"))
    manifest.write_text("{")
    assert [finding["state"] for finding in findings(cli, 3)["model"]] == ["wrong"]


def test_error_another_machines_server_that_is_not_there(cli: Cli) -> None:
    (server,) = findings(cli, 4, OLLAMA_HOST="http://192.0.2.1:9")["server"]
    assert "192.0.2.1" in server["found"]


def test_a_server_that_runs_is_named(cli: Cli) -> None:
    with serving(cli) as url:
        (server,) = findings(cli, OLLAMA_HOST=url)["server"]
    assert (server["url"], server["loaded"]) == (url, 0)


@pytest.mark.parametrize(
    ("used", "flags", "state", "unused"),
    [
        (["AVX2"], {"avx2"}, "ok", []),
        (["AVX2"], {"avx2", "avx512f", "avx512_vnni"}, "slow", ["AVX512", "AVX512_VNNI"]),
        (["AVX2", "AVX512"], {"avx2", "avx512f", "amx_int8"}, "ok", ["AMX_INT8"]),
        (["NEON"], {"asimddp", "i8mm"}, "slow", ["DOTPROD", "MATMUL_INT8"]),
        (["NEON", "DOTPROD"], {"asimddp"}, "ok", []),
        (["AVX2"], set[str](), "ok", []),
    ],
)
def test_instruction_sets_that_are_left_unused(used: list[str], flags: set[str], state: str, unused: list[str]) -> None:
    finding = instruction_sets(used, frozenset(flags))
    assert (finding.state, finding.data["unused"]) == (state, unused)
    assert (finding.cure == "make setup-native") == (state == "slow")


def _pinned() -> str:
    (version,) = re.findall(r'^llama = \["llama-cpp-python==([0-9.]+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    return version
