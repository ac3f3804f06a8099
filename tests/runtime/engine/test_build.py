"""The engine is tried out once for each build, and one that dies of its fast kernels is used without them."""

from __future__ import annotations

import logging
import stat
import sys
from pathlib import Path

import pytest
from corral.runtime.engine import build
from corral.runtime.engine.llama.probe import instruction_sets
from corral.runtime.engine.llama.specimen import TOKENS, specimen
from corral.runtime.engine.process import ModelLoadError, Worker
from corral.store import gguf
from corral.store.errors import MachineError

from tests.runtime.engine.conftest import SMALL, in_loop

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("CORRAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Probes:
    """Stands in for Python and counts what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "probes"
        self._script = folder / "python"
        self._log.touch()

    def does(self, monkeypatch: pytest.MonkeyPatch, commands: str = "") -> None:
        """What it does before it is Python after all; `$*` is what it was told."""
        self._script.write_text(f'#!/bin/bash\necho "$*" >> {self._log}\n{commands}\nexec {PYTHON} "$@"\n')
        self._script.chmod(self._script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(self._script))

    @property
    def seen(self) -> list[str]:
        """The last word of each."""
        return [line.split()[-1].rpartition(".")[2] for line in self._log.read_text().splitlines()]


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probes:
    made = Probes(tmp_path)
    made.does(monkeypatch)
    return made


def test_the_installed_engine_is_as_it_should_be() -> None:
    found = build.probe()
    assert found.version.startswith("0.3.36 (")
    assert found.use_extra_buffers
    assert set(found.instruction_sets) <= set(found.system.replace("|", " ").split())
    (processor,) = [device for device in found.devices if device.kind == "cpu"]
    assert 0 < processor.free <= processor.total
    assert [device.name for device in build.devices()] == [device.name for device in found.devices]


def test_a_build_is_tried_out_once(probes: Probes, cache: Path) -> None:
    first = build.probe()
    assert build.probe() == first
    assert probes.seen == ["probe"]
    assert len(list(cache.iterdir())) == 1


def test_what_another_process_found_is_taken_over(
    probes: Probes, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.probe()
    monkeypatch.setenv("CORRAL_CACHE", str(cache.rename(tmp_path / "moved")))  # this process knows nothing of that one
    assert build.probe() == first
    assert probes.seen == ["probe"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1", b'{"version":7}', b"\xff" * 99])
def test_a_damaged_answer_is_no_answer(
    probes: Probes, cache: Path, tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.probe()
    moved = cache.rename(tmp_path / "moved")
    (kept,) = moved.iterdir()
    kept.write_bytes(damage)
    monkeypatch.setenv("CORRAL_CACHE", str(moved))
    assert build.probe() == first
    assert probes.seen == ["probe"] * 2
    assert [file.name for file in moved.iterdir()] == [kept.name]
    assert kept.read_bytes() != damage


def test_where_nothing_can_be_kept_it_is_tried_out_once_a_process(probes: Probes, cache: Path) -> None:
    cache.write_text("a file, no folder")
    assert build.probe() == build.probe()
    assert probes.seen == ["probe"]


def test_another_build_is_tried_out_anew(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    build.probe()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")  # decides what devices there are
    build.probe()
    assert probes.seen == ["probe"] * 2


@pytest.mark.parametrize("name", ["SEGV", "ILL", "ABRT"])
def test_an_engine_that_dies_of_its_fast_kernels_goes_without_them_and_says_so_once(
    name: str, probes: Probes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    probes.does(monkeypatch, f'[ "${{@: -1}}" = plain ] || kill -{name} $$')
    with caplog.at_level(logging.WARNING):
        assert not build.probe().use_extra_buffers
        assert not build.probe().use_extra_buffers
    assert probes.seen == ["probe", "plain"]
    (said,) = caplog.messages
    assert f"signal: SIG{name}" in said
    assert "make setup" in said
    assert "\n" not in said


def test_a_worker_is_told_to_go_without_them(probes: Probes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "specimen.gguf"
    model.write_bytes(specimen())
    probes.does(monkeypatch, '[[ "$*" = *worker* || "${@: -1}" = plain ]] || kill -SEGV $$')

    async def run() -> None:
        worker = await Worker.start("tiny", str(model), SMALL)
        await worker.close()

    in_loop(run)
    assert '"use_extra_buffers":false' in probes.seen[-1]


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("kill -SEGV $$", "it ended at its first use: signal: SIGSEGV"),
        ("kill -KILL $$", "it ended at its first use: signal: SIGKILL"),
        ("echo no such library >&2; exit 1", "the engine is broken: no such library"),
        ("echo nonsense; exit 0", "the engine is broken: it says nothing"),
    ],
)
def test_error_an_engine_that_is_broken_is_called_so(
    commands: str, words: str, probes: Probes, monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    probes.does(monkeypatch, commands)
    with pytest.raises(MachineError, match=words) as caught:
        build.probe()
    assert "make setup" in str(caught.value.hint)
    assert not cache.exists()

    async def run() -> None:
        with pytest.raises(ModelLoadError, match=f"model 'tiny' cannot be loaded: .*{words}"):
            await Worker.start("tiny", str(tmp_path / "any.gguf"), SMALL)

    in_loop(run)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ModuleNotFoundError('gone')", "the engine is not installed: gone"),
        ("raise OSError('libllama.so: wrong ELF class')", "the engine is broken: libllama.so: wrong ELF class"),
        ("__version__ = '0.1.0'", "llama-cpp-python is 0.1.0, expected 0.3.36"),
    ],
)
def test_error_what_is_no_engine_is_called_so(
    module: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "llama_cpp.py").write_text(f"{module}\nclass llama_cpp: _lib = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MachineError, match=words) as caught:
        build.probe()
    assert "make setup" in f"{caught.value} {caught.value.hint}"


def test_instruction_sets_are_those_of_the_processor() -> None:
    system = "CUDA : ARCHS = 890 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX = 1 | AVX512 = 0 | OPENMP = 1 | REPACK = 1 | "
    assert instruction_sets(system) == ["SSE3", "AVX"]
    assert instruction_sets("") == []


def test_the_model_that_engines_are_tried_out_with_is_small_and_sound(tmp_path: Path) -> None:
    data = specimen()
    assert specimen() == data
    assert len(data) < 500_000
    (tmp_path / "specimen.gguf").write_bytes(data)
    header = gguf.read(tmp_path / "specimen.gguf")
    assert {tensor.type for tensor in header.tensors} >= {"Q4_0", "Q8_0", "Q4_K", "Q6_K"}
    assert header.tensors[-1].offset + header.tensors[-1].size + header.data_start == len(data)
    assert {t.name: t.shape for t in header.tensors}["output.weight"][1] == TOKENS
