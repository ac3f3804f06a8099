"""`corral pull hf.co/USER/REPOSITORY`: what is fetched, what it becomes, and what is left where."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from corral.registry.hub import is_hub
from corral.store.name import Name

from tests.conftest import CORRAL
from tests.registry.hub.conftest import NAME, Puller
from tests.registry.hub.double import COMMIT, Hub, Reply, Seen, sha256
from tests.store.splitting import Content, Weights, merged, number, split, text
from tests.weights import gguf


def layers(puller: Puller, tag: str = "latest") -> dict[str, str]:
    """The layers of a model, by the last word of their types."""
    manifest = json.loads((puller.cli.models / "manifests/hf.co/crew/parrot" / tag).read_text())
    return {
        layer["mediaType"].rpartition(".")[2]: layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf.co/crew/parrot", True),
        ("huggingface.co/crew/parrot:Q8_0", True),
        ("HF.co/crew/parrot", True),
        ("https://hf.co/crew/parrot", True),
        ("crew/parrot", False),
        ("registry.example/crew/parrot", False),
        ("hf.co.evil.example/crew/parrot", False),
    ],
)
def test_which_names_are_the_hubs(name: str, expected: bool) -> None:  # noqa: FBT001
    assert is_hub(Name.parse(name)) is expected


def test_a_repository_becomes_a_model(puller: Puller, hub: Hub) -> None:
    puller.ok()
    assert layers(puller) == {
        "model": sha256(hub.files["parrot-Q4_K_M.gguf"]),
        "projector": sha256(hub.files["mmproj-parrot-F16.gguf"]),
    }
    assert puller.cli.ok("verify", "--deep")
    assert hub.fetched() == ["parrot-Q4_K_M.gguf?Signature=s3cret", "mmproj-parrot-F16.gguf?Signature=s3cret"]


def test_nothing_is_left_beside_the_store(own_puller: Puller) -> None:
    own_puller.ok()
    assert not list(own_puller.home.rglob("*"))
    assert not list((own_puller.cli.models / ".corral/ingest").iterdir())


def test_two_users_get_the_same_model(puller: Puller, hub: Hub, tmp_path: Path) -> None:
    first = puller.ok()
    hub.listing = lambda listing: {**listing, "siblings": listing["siblings"][::-1]}
    other = replace(puller, cli=replace(puller.cli, models=tmp_path / "other"))
    assert other.ok() == first
    assert other.ok("huggingface.co/crew/parrot:q4_k_m") == first


def test_a_tag_chooses(puller: Puller, hub: Hub) -> None:
    puller.ok(f"{NAME}:q8_0")
    puller.ok(f"{NAME}:parrot-Q8_0.gguf")
    assert layers(puller, "q8_0")["model"] == sha256(hub.files["parrot-Q8_0.gguf"])
    assert layers(puller, "parrot-Q8_0.gguf") == layers(puller, "q8_0")


def test_what_is_here_is_not_fetched(puller: Puller, hub: Hub) -> None:
    puller.ok()
    hub.seen.clear()
    puller.ok()
    assert [seen.method for seen in hub.seen] == ["GET"]
    assert hub.fetched() == []


def test_texts_become_layers_as_they_are(puller: Puller, hub: Hub) -> None:
    texts = {"template": b"{{ .Prompt }}\r\n", "system": "Be kïnd.".encode(), "params": b'{ "stop": ["x"] }\n'}
    hub.files |= texts
    puller.ok()
    found = layers(puller)
    assert {kind: found[kind] for kind in texts} == {kind: sha256(data) for kind, data in texts.items()}
    assert "Be kïnd." in puller.shown()


def test_empty_texts_and_licences_become_nothing(puller: Puller, hub: Hub) -> None:
    hub.files |= {"template": b"", "LICENSE": b"MIT", "license": b"MIT"}
    puller.ok()
    assert set(layers(puller)) == {"model", "projector"}


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("params", b"[]", "params: it cannot be used: it is no object"),
        ("params", b"{", "params: it cannot be used: "),
        ("params", b"[" * 100_000, "params: it cannot be used: "),
        ("template", b"\xff", "template: it cannot be used: "),
        ("system", b"x" * ((1 << 20) + 1), "system: expected at most 1048576 bytes, got 1048577"),
    ],
)
def test_error_texts_that_cannot_be_used(puller: Puller, hub: Hub, name: str, data: bytes, why: str) -> None:
    hub.files[name] = data
    assert why in puller.error(3)


def test_ggufs_in_git_itself(puller: Puller, hub: Hub) -> None:
    hub.in_git = {"parrot-Q4_K_M.gguf", "mmproj-parrot-F16.gguf"}
    puller.ok()
    assert layers(puller)["model"] == sha256(hub.files["parrot-Q4_K_M.gguf"])
    assert "cdn" not in {seen.host for seen in hub.seen}


def test_error_nothing_fits(puller: Puller) -> None:
    said = puller.error(1, f"{NAME}:Q5_K_M")
    assert 'hf.co/crew/parrot:Q5_K_M: no file of the repository fits "Q5_K_M"' in said
    assert "hint: it has parrot-Q4_K_M.gguf, parrot-Q8_0.gguf" in said


def test_a_pin_is_the_manifests(puller: Puller) -> None:
    digest = puller.ok()
    assert puller.ok(f"{NAME}@{digest}") == digest
    pinned = f"{NAME}:Q8_0@{digest}"
    assert f"{pinned}: manifest: expected {digest}, got sha256:" in puller.error(3, pinned)


def test_a_changed_repository_replaces_the_model(puller: Puller, hub: Hub) -> None:
    puller.ok()
    old = sha256(hub.files["parrot-Q4_K_M.gguf"])
    hub.files["parrot-Q4_K_M.gguf"] = gguf(context=1024)
    assert "removing unused layers" in puller.run().stderr
    assert f"blobs/sha256-{old}" not in puller.contents()


def test_a_split_file_is_merged_and_fetched_once(puller: Puller, hub: Hub, tmp_path: Path) -> None:
    pairs = [text("general.architecture", "llama"), number("llama.context_length", 4, 256)]
    whole = Content(pairs, [Weights(f"blk.{n}.weight", (8,), 0, bytes([n]) * 32) for n in range(3)])
    for path in split(whole, tmp_path, (1, 2)):
        hub.files[f"Q2_K/{path.name.replace('model', 'parrot-Q2_K')}"] = path.read_bytes()
    done = puller.run(f"{NAME}:Q2_K")
    assert "merging split GGUF" in done.stderr
    assert layers(puller, "Q2_K")["model"] == sha256(merged(whole))
    assert len(hub.fetched()) == 4
    again = puller.ok(f"{NAME}:Q2_K")
    assert len(hub.fetched()) == 4
    assert again == done.stdout.split()[-1]
    # Without the merged file, the record of it is worth nothing.
    puller.cli.ok("rm", f"{NAME}:Q2_K")
    puller.ok(f"{NAME}:Q2_K")
    assert layers(puller, "Q2_K")["model"] == sha256(merged(whole))


def test_error_parts_that_are_no_parts(puller: Puller, hub: Hub) -> None:
    hub.files |= {f"x-Q2_K-{n:05}-of-00002.gguf": gguf(context=n) for n in (1, 2)}
    assert "it says it is split.no None of 0, expected 0 of 2" in puller.error(3, f"{NAME}:Q2_K")


def test_error_a_part_that_does_not_say_so(puller: Puller, hub: Hub, tmp_path: Path) -> None:
    whole = Content([text("general.architecture", "llama")], [Weights(n, (8,), 0, bytes(32)) for n in "ab"])
    hub.files["x-Q2_K.gguf"] = split(whole, tmp_path, (1,))[0].read_bytes()
    assert "x-Q2_K.gguf: it is one of 2 parts, expected a model" in puller.error(3, f"{NAME}:Q2_K")


def test_error_a_projector_is_no_model(puller: Puller) -> None:
    said = puller.error(3, f"{NAME}:mmproj-parrot-F16.gguf")
    assert "mmproj-parrot-F16.gguf: it is a projector, expected a model" in said


def test_a_transfer_that_breaks_off_goes_on(puller: Puller, hub: Hub) -> None:
    hub.files["parrot-Q4_K_M.gguf"] += bytes(24 << 20)
    hub.drops = 1
    puller.ok()
    ranges = [seen.headers.get("range") for seen in hub.seen if seen.host == "cdn" and "Q4_K_M" in seen.path]
    assert ranges == [None, f"bytes={12 << 20}-"]


def test_progress_is_told_in_bytes(puller: Puller, hub: Hub) -> None:
    code = (
        "from corral.registry.hub import pull; from corral.registry.throttle import Throttle\n"
        "from corral.store.local import Store; from corral.store.name import Name\n"
        f"import json; pull(Name.parse({NAME!r}), Store({str(puller.cli.models)!r}),"
        " throttle=Throttle(), report=lambda step: print(json.dumps(step.to_json())))"
    )
    environment = puller.cli.environment | puller.settings
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    size, digest = len(hub.files["parrot-Q4_K_M.gguf"]), sha256(hub.files["parrot-Q4_K_M.gguf"])
    status = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": size}
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert steps[0] == {"status": "pulling manifest"}
    assert status | {"completed": size} in steps
    assert [step["status"] for step in steps[-3:]] == ["verifying sha256 digest", "writing manifest", "success"]


def test_what_a_killed_pull_leaves_is_collected(puller: Puller, hub: Hub) -> None:
    hub.files["parrot-Q4_K_M.gguf"] += bytes(1 << 20)

    def slowly(seen: Seen) -> Reply | None:
        if seen.host == "cdn" and "Q4_K_M" in seen.path:
            time.sleep(60)
        return None

    hub.answer = slowly
    process = subprocess.Popen(
        [CORRAL, "pull", NAME],
        env=puller.cli.environment | puller.settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = puller.cli.models / ".corral/ingest"
    deadline = time.monotonic() + 60
    while not list(folder.rglob("*.incomplete")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(folder.rglob("*.incomplete"))
    # While it runs, it is nobody's to collect, and no stray.
    assert "broken-off" not in puller.cli.run("verify").stdout
    puller.cli.ok("gc")
    assert list(folder.rglob("*.incomplete"))
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert "broken-off" in puller.cli.run("verify").stdout
    puller.cli.ok("gc", "--dry-run")
    assert list(folder.rglob("*.incomplete"))
    puller.cli.ok("gc")
    assert list(folder.iterdir()) == []
    hub.answer = lambda _: None
    puller.ok()


def test_a_blob_that_another_process_brings_in_is_waited_for(puller: Puller, hub: Hub) -> None:
    puller.ok(f"{NAME}:Q8_0")  # lays out the store
    digest = sha256(hub.files["parrot-Q4_K_M.gguf"])
    busy = puller.cli.models / ".corral/busy" / f"sha256-{digest}"
    with busy.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [CORRAL, "pull", NAME], env=puller.cli.environment | puller.settings, stderr=subprocess.DEVNULL, text=True
        )
        time.sleep(1.5)
        assert process.poll() is None
        (puller.cli.models / "blobs" / f"sha256-{digest}").write_bytes(hub.files["parrot-Q4_K_M.gguf"])
        busy.unlink()
    assert process.wait(60) == 0
    assert not [name for name in hub.fetched() if "Q4_K_M" in name]


def test_the_commit_that_was_listed_is_fetched(puller: Puller, hub: Hub) -> None:
    puller.ok()
    assert all(f"/resolve/{COMMIT}/" in seen.path for seen in hub.seen if seen.method == "HEAD")


def test_a_damaged_blob_is_put_right(puller: Puller, hub: Hub) -> None:
    hub.files["system"] = b"Be kind."
    puller.ok()
    good = puller.contents()
    for path in ("parrot-Q4_K_M.gguf", "system"):
        data = bytearray(hub.files[path])
        data[-1] ^= 1
        (puller.cli.models / "blobs" / f"sha256-{sha256(hub.files[path])}").write_bytes(data)
    puller.cli.ok("verify", "--deep", "--repair", **puller.settings)
    assert puller.contents() == good
    hub.files["system"] = b"Be cruel"
    (puller.cli.models / "blobs" / f"sha256-{sha256(b'Be kind.')}").write_bytes(b"damaged!")
    done = puller.cli.run("verify", "--deep", "--repair", **puller.settings)
    assert done.returncode == 3
    assert "no file of the repository is sha256:" in done.stdout + done.stderr
