"""`corral export` and `corral import`, with skopeo carrying the archive in between."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Skopeo
from tests.conftest import CORRAL, Cli, DockerRegistry


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    """A store with the model `small`."""
    text = f"FROM {tiny_gguf}\nSYSTEM Be kind.\nPARAMETER stop <a>\nMESSAGE user hi\nLICENSE MIT\nLICENSE Also\n"
    cli.ok("create", "small", "-f", "-", stdin=text)
    return cli


@pytest.fixture
def elsewhere(cli: Cli, tmp_path: Path) -> Cli:
    """Another machine, as it were."""
    return Cli(tmp_path / "elsewhere", cli.folder)


def content(cli: Cli) -> dict[str, str]:
    """The store's files but Corral's own records."""
    return {name: digest for name, digest in cli.files().items() if not name.startswith(".corral/")}


FORMS = pytest.mark.parametrize("form", ["small.tar", "small/"])


@FORMS
def test_a_model_goes_out_and_comes_back(small: Cli, elsewhere: Cli, form: str) -> None:
    printed = small.ok("export", "small", "-o", form)
    digest = json.loads(small.ok("show", "small", "--json"))["digest"]
    assert printed == f"small:latest {digest}\n"
    assert elsewhere.ok("import", form) == printed
    assert content(elsewhere) == content(small)
    assert elsewhere.ok("import", form, "crew/other:v1") == f"crew/other:v1 {digest}\n"


@FORMS
def test_skopeo_carries_it_to_the_byte(small: Cli, elsewhere: Cli, skopeo: Skopeo, form: str) -> None:
    small.ok("export", "small", "-o", form)
    transport, path = ("oci", "small") if form == "small/" else ("oci-archive", form)
    for number, target in enumerate(("oci", "oci-archive")):
        skopeo(
            "copy", f"{transport}:{small.folder / path}:small:latest", f"{target}:{small.folder}/copy{number}:other:v2"
        )
        assert elsewhere.ok("import", f"copy{number}").startswith("other:v2 sha256:")
        raw = (elsewhere.models / "manifests/registry.ollama.ai/library/other/v2").read_bytes()
        assert raw == (small.models / "manifests/registry.ollama.ai/library/small/latest").read_bytes()
        blobs = {path.name for path in (small.models / "blobs").iterdir()}
        assert {path.name for path in (elsewhere.models / "blobs").iterdir()} == blobs
        elsewhere.ok("rm", "other:v2")
    assert json.loads(skopeo("inspect", "--raw", f"{transport}:{small.folder / path}"))["schemaVersion"] == 2


def test_skopeo_carries_it_through_a_registry(
    small: Cli, elsewhere: Cli, skopeo: Skopeo, docker_registry: DockerRegistry
) -> None:
    small.ok("export", "small", "-o", "small/")
    image = f"docker://{docker_registry.host}/crew/carried:v1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{small.folder}/small:small:latest", image)
    skopeo("copy", "--src-tls-verify=false", image, f"oci:{small.folder}/back:small:latest")
    elsewhere.ok("import", "back")
    assert content(elsewhere) == content(small)


def test_the_archive_says_what_it_is(small: Cli) -> None:
    small.ok("export", "small", "-o", "small/")
    folder = small.folder / "small"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "small:latest"}
    image = json.loads((folder / "blobs/sha256" / entry["digest"][7:]).read_text())
    shown = json.loads(small.ok("show", "small", "--json"))
    assert (image["layers"], image["config"]) == (shown["layers"], shown["config"])
    blobs = {entry["digest"], *(blob["digest"] for blob in (*image["layers"], image["config"]))}
    assert files == {"oci-layout", "index.json", *(f"blobs/sha256/{digest[7:]}" for digest in blobs)}
    for file in (folder / "blobs/sha256").iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


def test_through_a_pipe(small: Cli, elsewhere: Cli) -> None:
    small.ok("export", "small", "-o", "small.tar")
    receive = f"OLLAMA_MODELS={elsewhere.models} {CORRAL} import -"
    script = f"set -o pipefail; {CORRAL} export small -o - | tee copy.tar | {receive}"
    done = subprocess.run(
        ["bash", "-c", script], env=small.environment, cwd=small.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("small:latest sha256:")
    assert content(elsewhere) == content(small)
    assert (small.folder / "copy.tar").read_bytes() == (small.folder / "small.tar").read_bytes()


def test_memory_does_not_grow_with_the_model(cli: Cli, elsewhere: Cli, smollm2: Path) -> None:
    cli.ok("create", "large", "-f", "-", stdin=f"FROM {smollm2}\n")
    limit = smollm2.stat().st_size * 3 // 4
    code = (
        "import sys; from corral.cli.main import run; code = run(sys.argv[1:]); "
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')); "
        "print(code, peak.split()[1], file=sys.stderr)"
    )
    for machine, *arguments in ((cli, "export", "large", "-o", "large.tar"), (elsewhere, "import", "large.tar")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=machine.environment,
            cwd=cli.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        exit_code, most = map(int, done.stderr.split()[-2:])
        assert (exit_code, most * 1024 < limit) == (0, True), most
    assert content(elsewhere) == content(cli)


def piped(cli: Cli, source: str) -> subprocess.CompletedProcess[str]:
    """`corral import -` of what a shell command prints."""
    script = f"{source} | {CORRAL} import -"
    return subprocess.run(
        ["bash", "-c", script], env=cli.environment, cwd=cli.folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("head -c 9000 small.tar", "standard input: invalid archive: truncated"),
        ("cat /dev/zero", "standard input: invalid archive: oci-layout is not in it"),
        ("yes", "standard input: invalid archive: it is no tar archive at byte 0"),
        ("cat endless.tar /dev/zero", f"standard input: blob aaaaaaaaaaaa: expected sha256:{'a' * 64}, got sha256:"),
        ("cat endless.tar; head -c 9000 /dev/zero", "standard input: invalid archive: truncated"),
    ],
)
def test_error_pipes_that_end_early_or_never(small: Cli, elsewhere: Cli, source: str, words: str) -> None:
    small.ok("export", "small", "-o", "small.tar")
    member = tarfile.TarInfo(f"blobs/sha256/{'a' * 64}")
    member.size = 64 << 20
    (small.folder / "endless.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    done = piped(elsewhere, f"{{ {source}; }}")
    assert done.returncode == 3
    assert f"Error: {words}" in done.stderr
    assert content(elsewhere) == {}
    assert list((elsewhere.models / ".corral" / "ingest").glob("*")) == []


def test_what_comes_behind_an_archives_end_is_left(small: Cli, elsewhere: Cli) -> None:
    small.ok("export", "small", "-o", "small.tar")
    assert piped(elsewhere, "cat small.tar /dev/zero").returncode == 0
    assert content(elsewhere) == content(small)


def test_errors(small: Cli, elsewhere: Cli) -> None:
    small.ok("export", "small", "-o", "small.tar")
    before = content(small)
    assert "model 'none:latest' not found" in small.error(1, "export", "none", "-o", "none.tar")
    assert "  hint: --force replaces it" in small.error(1, "export", "small", "-o", "small.tar")
    assert "Error: out: neither a folder nor an archive" in small.error(1, "export", "small", "-o", "out")
    assert small.run("export", "small").returncode == 2
    assert "Error: nowhere.tar: no such file or folder" in elsewhere.error(1, "import", "nowhere.tar")
    assert "not a regular file" in elsewhere.error(1, "import", "/dev/zero")
    assert "invalid model name" in elsewhere.error(1, "import", "small.tar", "a b")
    assert "oci-layout is not in it" in elsewhere.error(3, "import", ".")
    (small.folder / "small.tar").write_bytes((small.folder / "small.tar").read_bytes()[:5000])
    assert "Error: small.tar: invalid archive: truncated" in elsewhere.error(3, "import", "small.tar")
    assert content(elsewhere) == {}
    assert content(small) == before
    small.ok("export", "small", "-o", "small.tar", "--force")
    elsewhere.ok("import", "small.tar")


def test_error_export_to_a_full_disk(small: Cli) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{CORRAL} export small -o - > /dev/full"],
        env=small.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == "Error: the output cannot be written: no space left"
