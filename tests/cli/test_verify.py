"""`corral verify` and `corral df`, as people and programs read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Cli


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    """A store with the models `small` and `other`, of the same weights."""
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    cli.ok("create", "other", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be brief!\n")
    return cli


def layer(cli: Cli, model: str, role: str) -> Path:
    shown = json.loads(cli.ok("show", model, "--json"))
    (digest,) = [one["digest"] for one in shown["layers"] if one["mediaType"].endswith(role)]
    return cli.models / "blobs" / digest.replace(":", "-")


@pytest.mark.parametrize("arguments", [[], ["--deep"], ["small"], ["small", "--deep"], ["--repair"]])
def test_a_sound_store(small: Cli, arguments: list[str]) -> None:
    text = small.ok("verify", *arguments)
    models, blobs = ("1 model", "3 blobs") if "small" in arguments else ("2 models", "4 blobs")
    assert re.fullmatch(rf"{models}, {blobs}, \d+ B hashed: no problems\n", text)


def test_an_empty_store(cli: Cli) -> None:
    assert cli.ok("verify", "--deep") == "0 models, 0 blobs, 0 B hashed: no problems\n"
    assert not cli.models.exists()


def test_every_problem_is_a_line_and_the_exit_code_is_3(small: Cli) -> None:
    system, weights = layer(small, "small", ".system"), layer(small, "other", ".model")
    system.unlink()
    weights.write_bytes(weights.read_bytes()[:-1])
    (small.models / "blobs" / "stray").write_text("x")
    size = weights.stat().st_size
    done = small.run("verify")
    assert done.returncode == 3
    first, second, note, last = done.stdout.splitlines()
    sizes = f"expected {size + 1} bytes, got {size} bytes"
    assert {first, second} == {
        f"{system.name.replace('-', ':')}: missing: expected a blob, got no file (in small:latest)",
        f"{weights.name.replace('-', ':')}: size: {sizes} (in other:latest, small:latest)",
    }
    assert note == "note: blobs/stray: no blob"
    assert last.endswith(": 2 problems")
    assert done.stderr.splitlines()[-2:] == [
        f"Error: {small.models}: 2 problems",
        "  hint: --repair fetches what the registries in the models' names have",
    ]


def test_as_json(small: Cli) -> None:
    system = layer(small, "small", ".system")
    system.write_bytes(b"Be evil."[:8])
    (small.models / "manifests/registry.ollama.ai/library/other/latest").write_text("{")
    done = small.run("verify", "--json")
    assert done.returncode == 3
    said = json.loads(done.stdout)
    manifest, content = said["problems"]
    assert (
        manifest.items()
        >= {
            "object": "other:latest",
            "problem": "manifest",
            "models": ["other:latest"],
            "repaired": False,
        }.items()
    )
    digest = system.name.replace("-", ":")
    assert content.items() >= {"object": digest, "problem": "content", "expected": digest, "repaired": False}.items()
    assert content["got"].startswith("sha256:")
    assert content["models"] == ["small:latest"]
    assert (said["models"], said["deep"]) == (1, False)
    assert [note["note"] for note in said["notes"]] == ["no model uses it; gc removes it"]
    assert small.run("verify", "--json").stdout == done.stdout


def test_what_was_made_here_cannot_be_fetched(small: Cli) -> None:
    layer(small, "small", ".system").unlink()
    (small.models / "manifests/registry.ollama.ai/library/other/latest").write_text("{")
    before = small.files()
    # Ollama's registry is asked for the blob; nobody is there.
    done = small.run("verify", "--repair", HTTPS_PROXY="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1")
    assert done.returncode == 3
    assert "  not repaired: its name has no registry's host; pull or create it again" in done.stdout
    assert "  not repaired: small:latest: cannot reach registry.ollama.ai: " in done.stdout
    assert done.stderr.endswith("2 problems\n")
    assert {name: data for name, data in small.files().items() if not name.startswith(".corral")} == {
        name: data for name, data in before.items() if not name.startswith(".corral")
    }


def test_errors(small: Cli) -> None:
    assert "model 'none:latest' not found" in small.error(1, "verify", "none")
    assert "another machine" in small.error(1, "verify", OLLAMA_HOST="10.1.1.1")
    small.ok("verify", "--local", OLLAMA_HOST="10.1.1.1")


def test_df_adds_up(small: Cli, tiny_gguf: Path) -> None:
    (small.models / "blobs" / f"sha256-{'0' * 64}-partial").write_bytes(b"half a download")
    (small.models / "blobs" / f"sha256-{'0' * 64}").write_bytes(b"nobody's")
    said = json.loads(small.ok("df", "--json"))
    files = sum(path.stat().st_size for path in (small.models / "blobs").iterdir())
    assert said["total"] == files
    assert said["unreferenced"] == {"count": 1, "bytes": 8}
    assert said["debris"] == {"count": 1, "bytes": 15}
    assert said["linked"] == {"count": 0, "bytes": 0}
    assert said["used"]["bytes"] == files - 23
    assert {model["name"]: model["own"] for model in said["models"]} == {"small:latest": 8, "other:latest": 9}
    for model in said["models"]:
        assert model["size"] == model["shared"] + model["own"]
        assert model["shared"] > tiny_gguf.stat().st_size
    shared = said["models"][0]["shared"]
    assert said["used"]["bytes"] == sum(model["own"] for model in said["models"]) + shared


def test_own_is_what_rm_frees(small: Cli) -> None:
    def total() -> int:
        return json.loads(small.ok("df", "--json"))["total"]

    (own,) = [
        model["own"] for model in json.loads(small.ok("df", "--json"))["models"] if model["name"] == "small:latest"
    ]
    before = total()
    small.ok("rm", "small")
    assert total() == before - own
    small.ok("cp", "other", "same")
    assert [model["own"] for model in json.loads(small.ok("df", "--json"))["models"]] == [0, 0]
    small.ok("rm", "same", "other")
    assert total() == 0


def test_df_counts_links_once_and_says_so(cli: Cli, tiny_gguf: Path) -> None:
    weights = cli.folder / "weights.gguf"
    weights.write_bytes(tiny_gguf.read_bytes())
    for name in ("a", "b"):
        cli.ok("create", name, "--link", "-f", "-", stdin="FROM ./weights.gguf\n")
    said = json.loads(cli.ok("df", "--json"))
    assert said["linked"] == {"count": 1, "bytes": weights.stat().st_size}
    assert said["used"]["count"] == 2
    assert "in 1 blob of that in second names of files of yours" in cli.ok("df")


def test_df_as_a_table(small: Cli) -> None:
    header, first, second, blank, used, last = small.ok("df").splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "SHARED", "OWN"]
    assert [line.split()[0] for line in (first, second)] == ["other:latest", "small:latest"]
    assert first.split()[-2:] == ["9", "B"]
    assert blank == ""
    assert used.endswith(" in 4 blobs of models")
    assert last.endswith(" in all")
    assert header.index("SHARED") == first.index(first.split()[4])


def test_df_of_an_empty_and_of_a_damaged_store(cli: Cli, tiny_gguf: Path) -> None:
    assert json.loads(cli.ok("df", "--json"))["total"] == 0
    assert not cli.models.exists()
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    (cli.models / "manifests/registry.ollama.ai/library/small/latest").write_text("{")
    done = cli.run("df", "--json")
    said = json.loads(done.stdout)
    assert done.stderr.startswith("Warning: small:latest: invalid manifest")
    assert (said["broken"], said["models"], said["used"]["count"]) == (["small:latest"], [], 0)
    assert said["unreferenced"]["bytes"] == said["total"] > 0
