"""What a server listens on: addresses, files, with TLS and without."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
import requests
from corral.cli.unix_socket import session_to
from corral.runtime.http.server import bind, bound_file, is_loopback, tell_systemd, tls_context
from corral.store.errors import FileError, InputError, MachineError

from tests.runtime.conftest import PATIENCE
from tests.runtime.http.running import fake_app, running

GENERATE = {"model": "tiny", "prompt": "say:a;", "stream": False}


def test_error_a_port_in_use_is_another_servers() -> None:
    with bind("127.0.0.1", 0) as first:
        with pytest.raises(MachineError, match="cannot listen: Address already in use") as caught:
            bind("127.0.0.1", first.getsockname()[1])
        assert "another server is running there" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_error_an_address_of_another_machine_is_not(host: str) -> None:
    with pytest.raises(MachineError, match=f"^{host}:11434: cannot listen: ") as caught:
        bind(host, 11434)
    assert caught.value.hint == "OLLAMA_HOST must name an address of this machine"


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_only_this_machine_can_reach(host: str, *, is_own: bool) -> None:
    assert is_loopback(host) is is_own


def test_a_socket_file_is_its_owners_alone_and_goes_in_the_end(fake_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    with bound_file(path) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with running(fake_app(fake_models), listener=listener), session_to(path) as session:
            reply = session.post("http://localhost/api/generate", json=GENERATE, timeout=PATIENCE)
            assert reply.json()["response"] == "a"
            with session.post("http://localhost/api/generate", json=GENERATE | {"stream": True}, stream=True) as lines:
                assert [json.loads(line)["done"] for line in lines.iter_lines()][-1] is True
            assert session.get("http://localhost/", headers={"Host": "evil.example"}).status_code == 403
    assert not path.exists()


def test_a_socket_file_that_nobody_listens_at_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert path.exists()
    with bound_file(path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.accept()[0].close()
    assert not path.exists()


def test_error_a_socket_file_that_somebody_listens_at_stays(tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    with bound_file(path):
        with pytest.raises(MachineError, match="Address already in use") as caught, bound_file(path):
            pass
        assert "another server is running there" in str(caught.value.hint)
        assert path.exists()


def test_a_socket_file_that_became_anothers_stays(tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    with bound_file(path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "long", "nowhere"])
def test_error_a_socket_file_that_cannot_be(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"long": "x" * 200, "nowhere": "no/such/x"}.get(kind, "x")
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case _:
            pass
    with pytest.raises(MachineError, match="cannot listen: ") as caught, bound_file(path):
        pass
    assert caught.value.hint
    assert path.is_symlink() or path.is_dir() or not path.exists() or path.read_text() == "precious"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For localhost and 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = make_certificate(folder, "server")
    make_certificate(folder, "other")
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", made[1], "-out", folder / "locked.key"],
        check=True,
        capture_output=True,
    )
    return made


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)
    return certificate, key


def test_tls(fake_models: Path, certificate: tuple[Path, Path]) -> None:
    with running(fake_app(fake_models), tls=tls_context(*certificate)) as run:
        url = f"https://localhost:{run.port}/api/generate"
        reply = requests.post(url, json=GENERATE, verify=str(certificate[0]), timeout=PATIENCE)
        assert reply.json()["response"] == "a"
        with requests.post(url, json=GENERATE | {"stream": True}, verify=str(certificate[0]), stream=True) as lines:
            assert json.loads(list(lines.iter_lines())[-1])["done"] is True
        with pytest.raises(requests.exceptions.SSLError):
            requests.post(url, json=GENERATE, timeout=PATIENCE)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://localhost:{run.port}/", timeout=PATIENCE)


@pytest.mark.filterwarnings("ignore:.*TLSv1.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_versions_of_tls(
    fake_models: Path, certificate: tuple[Path, Path], version: ssl.TLSVersion, *, is_spoken: bool
) -> None:
    client = ssl.create_default_context(cafile=str(certificate[0]))
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    with running(fake_app(fake_models), tls=tls_context(*certificate)) as run, run.connection() as plain:
        try:
            with client.wrap_socket(plain, server_hostname="localhost") as connection:
                spoken = connection.version() is not None
        except OSError:
            spoken = False
    assert spoken is is_spoken


def test_error_a_tls_handshake_that_does_not_come(fake_models: Path, certificate: tuple[Path, Path]) -> None:
    with (
        running(fake_app(fake_models), tls=tls_context(*certificate), head_seconds=0.5) as run,
        run.connection() as silent,
    ):
        assert silent.recv(1) == b""


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("server.pem", "other.key"), "no certificate and key that belong together"),
        (("server.key", "server.key"), "no certificate and key that belong together"),
        (("server.pem", "server.pem"), "no certificate and key that belong together"),
        (("server.pem", "locked.key"), "no certificate and key that belong together"),
    ],
)
def test_error_certificates_that_are_none(certificate: tuple[Path, Path], names: tuple[str, str], words: str) -> None:
    folder = certificate[0].parent
    with pytest.raises(InputError, match=words) as caught:
        tls_context(folder / names[0], folder / names[1])
    assert caught.value.hint


def test_error_certificates_that_are_not_there(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent\.pem: cannot read"):
        tls_context(tmp_path / "absent.pem", certificate[1])
    with pytest.raises(FileError, match=r"absent\.key: cannot read"):
        tls_context(certificate[0], tmp_path / "absent.key")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        tls_context(certificate[0], tmp_path / "pipe")


@pytest.mark.parametrize("prefix", ["", "@"])
def test_systemd_is_told(tmp_path: Path, prefix: str) -> None:
    address = f"{prefix}{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if prefix else address)
        manager.settimeout(PATIENCE)
        tell_systemd(address, "READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/no/such/socket", "@nobody-is-here", "/" + "x" * 500])
def test_systemd_that_is_not_there_is_no_matter(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    tell_systemd(address, "READY=1")
    assert capfd.readouterr() == ("", "")
