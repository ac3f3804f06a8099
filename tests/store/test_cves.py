"""What Ollama's CVEs and security reports were about, tried here from end to end: each is refused, and nothing is harmed.

Those about registries and their credentials are in tests/registry, those about archives in test_hostile_archives.py.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from corral.store.digest import Digest
from corral.store.errors import CorralError, InvalidManifestError
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

from tests import weights
from tests.conftest import CORRAL, Cli, serving
from tests.weights import ARRAY, STRING, UINT, pair, text_pair

TENSOR = "application/vnd.ollama.image.tensor"


def number(key: str, value: int) -> bytes:
    return pair(key, UINT, struct.pack("<I", value))


def refused(cli: Cli, data: bytes, *words: str) -> None:
    """`create` says one error about this file of weights, with these words, and leaves nothing."""
    (cli.folder / "evil.gguf").write_bytes(data)
    said = cli.error(3, "create", "evil", "-f", "-", stdin="FROM ./evil.gguf\n")
    assert all(word in said for word in words), said
    assert not list(cli.models.glob("blobs/*"))
    assert not list(cli.models.glob("manifests/**/*"))


def plant(cli: Cli, digest: str, *, config: str | None = None, media_type: str = MODEL) -> Path:
    """A manifest with such a layer digest that somebody has put into the store as `evil`, beside a good one."""
    folder = cli.models / "manifests" / "registry.ollama.ai" / "library"
    if not folder.exists():
        cli.ok("create", "good", "-f", "-", stdin=f"FROM {sound(cli)}\n")
    good = json.loads((folder / "good" / "latest").read_text())
    layer = {"mediaType": media_type, "digest": digest, "size": 5}
    good["config"]["digest"] = config or good["config"]["digest"]
    path = folder / "evil" / "latest"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(good | {"layers": [layer, *good["layers"]]}))
    return path


def sound(cli: Cli) -> Path:
    path = cli.folder / "sound.gguf"
    path.write_bytes(weights.gguf())
    return path


@pytest.fixture
def victim(cli: Cli) -> Path:
    """A file outside the store, of the size that the manifests of these tests say."""
    path = cli.models.parent / "victim"
    path.write_text("12345")
    return path


PATHS = [
    *("../../../victim", "sha256:../../../victim", "sha256-../../../victim", "sha256:" + "../" * 21 + "a"),
    *("/etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63 + "\n", "sha256:" + "a" * 64 + "\0"),
]
SHORT = ["", "sha256", "sha256:", "sha256:ab", "a", "sha256:" + "a" * 63, "sha512:" + "a" * 64, "sha256:" + "٠" * 64]
NO_DIGEST = pytest.mark.parametrize(
    ("digests", "media_type"),
    [(PATHS, MODEL), (PATHS, TENSOR), (SHORT, MODEL)],
    ids=["cve_2024_37032", "cve_2026_7020", "cve_2025_1975"],
)


@NO_DIGEST
def test_cve_2024_37032_and_2026_7020_and_2025_1975_what_is_no_digest_is_never_used(
    cli: Cli, victim: Path, digests: list[str], media_type: str
) -> None:
    store = Store(cli.models)
    for digest in digests:
        plant(cli, digest, media_type=media_type)
        assert "is not a digest" in cli.error(3, "show", "evil")
        with pytest.raises(InvalidManifestError, match="is not a digest"):
            store.copy(Name.parse("evil"), Name.parse("copy"))
        store.remove(Name.parse("evil"))
        with pytest.raises(CorralError):
            store.blobs.path(Digest.parse(digest))
    plant(cli, digests[0], media_type=media_type)
    for verb in (["run", "evil", "hi"], ["push", "evil"], ["cp", "evil", "copy"]):
        assert "is not a digest" in cli.error(3, *verb)
    assert [line.split()[0] for line in cli.ok("list").splitlines()[1:]] == ["good:latest"]
    assert victim.read_text() == "12345"


def test_cve_2025_44779_a_crafted_manifest_deletes_nothing(cli: Cli, victim: Path) -> None:
    manifest = plant(cli, "sha256:../../../victim", config="sha256:../../../victim")
    blobs = set(cli.models.glob("blobs/*"))
    cli.error(3, "gc")  # what the manifest names cannot be known, so nothing goes
    assert set(cli.models.glob("blobs/*")) == blobs
    cli.ok("rm", "evil")
    assert not manifest.exists()
    cli.ok("gc", "--older-than", "0")
    assert set(cli.models.glob("blobs/*")) == blobs
    assert victim.read_text() == "12345"
    cli.ok("rm", "good")
    assert victim.exists()


def test_cve_2025_44779_a_model_does_not_delete_anothers_blobs(cli: Cli) -> None:
    cli.ok("create", "good", "-f", "-", stdin=f"FROM {sound(cli)}\n")
    store = Store(cli.models)
    good = store.find(Name.parse("good")).manifest
    # Of another model's blobs, one under a media type of its own and one as the config.
    evil = Manifest.build(good.layers[0], [good.config])
    store.tag(Name.parse("evil"), evil)
    cli.ok("rm", "evil")
    assert "good" in cli.ok("list")
    store.check_complete(good)


NOWHERE = "localhost:1/x/y:z"
"""A model of a registry that is not there."""


@pytest.mark.parametrize("route", ["/api/create", "/api/push", "/api/pull"])
def test_cve_2024_39719_and_39722_no_answer_tells_whether_a_file_exists(
    served_url: str, tmp_path: Path, route: str
) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"GGUF")
    folder = tmp_path / "place"
    folder.mkdir()
    for known, unknown in [(there, tmp_path / "where"), (folder, tmp_path / "plate"), ("/etc/passwd", "/etc/passwx")]:
        for body in (
            {"model": NOWHERE, "modelfile": "FROM {}"},
            {"model": NOWHERE, "modelfile": "FROM x\nADAPTER {}"},
            {"model": NOWHERE, "files": {"x.gguf": "{}"}},
            {"model": NOWHERE, "path": "{}"},
            {"model": "{}"},
            {"model": NOWHERE, "from": "{}"},
        ):
            said = [
                # The names are as long as each other; what is shown of them differs in their ends.
                (reply.status_code, reply.text.replace(Path(path).name, "name"))
                for path in (known, unknown)
                for reply in [requests.post(served_url + route, data=filled(body, path), timeout=60)]
            ]
            assert said[0] == said[1]


def filled(body: object, path: str | Path) -> bytes:
    """The body with a path in its gap."""
    return json.dumps(body).replace("{}", str(path)).encode()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 23])
def test_cve_2024_39720_a_file_of_a_few_bytes(cli: Cli, size: int) -> None:
    refused(cli, weights.gguf()[:size], "invalid GGUF")


@pytest.mark.parametrize("instruction", ["FROM", "FROM {sound}\nADAPTER", "FROM {sound}\nDRAFT"])
def test_cve_2024_39721_a_device_is_not_read(cli: Cli, instruction: str) -> None:
    pipe = cli.folder / "pipe.gguf"
    os.mkfifo(pipe)
    (cli.folder / "link.gguf").symlink_to("/dev/zero")
    for path in ("/dev/random", "/dev/zero", "./pipe.gguf", "./link.gguf"):
        text = f"{instruction.format(sound=sound(cli))} {path}\n"
        assert "not a regular file" in cli.error(1, "create", "evil", "-f", "-", stdin=text)
    assert not cli.files()


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([number("llama.block_count", 0)], id="cve_2024_8063"),
        pytest.param([number("llama.attention.head_count", 0)], id="cve_2025_0317"),
        pytest.param([number("llama.block_count", 1 << 31)], id="too many"),
        pytest.param([number("llama.expert_count", 8), number("llama.expert_used_count", 0)], id="no experts"),
    ],
)
def test_cve_2024_8063_and_2025_0317_no_count_is_zero_that_something_is_divided_by(
    cli: Cli, pairs: list[bytes]
) -> None:
    refused(cli, weights.gguf(*pairs), "_count is ")


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return weights.string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def with_tensors(*tensors: bytes) -> bytes:
    pairs = text_pair("general.architecture", "llama")
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1) + pairs + b"".join(tensors) + bytes(4096)


@pytest.mark.parametrize(
    "pairs",
    [
        weights.string("k") + struct.pack("<IQ", STRING, 1 << 40),
        weights.string("k") + struct.pack("<IIQ", ARRAY, STRING, 1 << 20),
        pair("k", ARRAY, struct.pack("<IQ", STRING, 70) + bytes(8 * 69) + struct.pack("<Q", (1 << 64) - 8)),
        weights.string("k") + struct.pack("<IIQ", ARRAY, UINT, 1 << 62),
        struct.pack("<Q", (1 << 64) - 1),
        weights.string("k") + struct.pack("<I", 99),
    ],
)
def test_cve_2024_12055_no_length_leads_out_of_the_file(cli: Cli, pairs: bytes) -> None:
    head = text_pair("general.architecture", "llama")
    refused(cli, b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + head + pairs, "invalid GGUF")


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("t", (32,), 0, 1 << 40)],
        [tensor("t", (32,), 0, (1 << 64) - 32)],
        [tensor("t", (1 << 20, 1 << 20), 0, 0)],
        [tensor("t", (1 << 32, 1 << 32), 0, 0)],
        [tensor("t", (1 << 62, 4, 4), 0, 0)],
        [tensor("t", (4096,), 0, 0)],
        [tensor("t", (256,), 0, 0), tensor("u", (256,), 0, 512)],
    ],
)
def test_cve_2026_7482_no_tensor_lies_outside_the_file_or_in_another(cli: Cli, tensors: list[bytes]) -> None:
    refused(cli, with_tensors(*tensors), "invalid GGUF: ", "tensor")


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [number("general.architecture", 1)],
        [text_pair("general.architecture", "llama"), text_pair("tokenizer.ggml.tokens", "x")],
        [text_pair("general.architecture", "llama"), text_pair("llama.block_count", "x")],
    ],
)
def test_cve_2025_0312_metadata_of_the_wrong_type_is_an_error(cli: Cli, pairs: list[bytes]) -> None:
    refused(cli, b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs), "invalid GGUF")


CLAIMS: dict[str, Callable[[int], bytes]] = {
    "pairs": lambda n: struct.pack("<IQQ", 3, 0, n),
    "tensors": lambda n: struct.pack("<IQQ", 3, n, 0),
    "a key": lambda n: struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", n),
    "a text": lambda n: struct.pack("<IQQ", 3, 0, 1) + weights.string("k") + struct.pack("<IQ", STRING, n),
    "texts": lambda n: struct.pack("<IQQ", 3, 0, 1) + weights.string("k") + struct.pack("<IIQ", ARRAY, STRING, n),
    "numbers": lambda n: struct.pack("<IQQ", 3, 0, 1) + weights.string("k") + struct.pack("<IIQ", ARRAY, UINT, n),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_cve_2025_0315_and_issue_17042_what_is_claimed_is_not_allocated(cli: Cli, what: str) -> None:
    """The file is large enough for the claim, but it is one hole."""
    path = cli.folder / "evil.gguf"
    for claimed in (1 << 31, 1 << 62):
        path.write_bytes(b"GGUF" + CLAIMS[what](claimed))
        os.truncate(path, 64 << 30)
        done = subprocess.run(
            [CORRAL, "create", "evil", "-f", "-"],
            input=b"FROM ./evil.gguf\n",
            env=cli.environment,
            cwd=cli.folder,
            capture_output=True,
            check=False,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
        )
        assert (done.returncode, b"invalid GGUF" in done.stderr) == (3, True), done.stderr
    assert not list(cli.models.glob("blobs/*"))


def test_issue_13223_the_servers_errors_name_no_folder_of_this_machine(cli: Cli) -> None:
    cli.ok("create", "cut", "-f", "-", stdin=f"FROM {sound(cli)}\n")
    cli.ok("create", "odd", "-f", "-", stdin="FROM cut\nSYSTEM Be kind.\n")
    store = Store(cli.models)
    (kind,) = store.find(Name.parse("odd")).manifest.of_type("application/vnd.ollama.image.system")
    model = store.find(Name.parse("cut")).manifest.of_type(MODEL)[0]
    damages: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: os.truncate(path, 5),
        lambda path: path.unlink(),
        lambda path: path.symlink_to(path.name),  # which cannot be followed
    ]
    with serving(cli) as url:
        for digest in (model.digest, kind.digest):
            path = store.blobs.path(digest)
            sound_bytes = path.read_bytes()
            for damage in damages:
                damage(path)
                for route in ("/api/show", "/api/generate", "/v1/chat/completions"):
                    body = {"model": "odd", "prompt": "hi", "messages": [{"role": "user", "content": "hi"}]}
                    reply = requests.post(url + route, json=body, timeout=60)
                    assert reply.status_code == 500, reply.text
                    assert str(cli.models.parent) not in str(reply.json()["error"]), reply.text
            path.unlink()
            path.write_bytes(sound_bytes)
