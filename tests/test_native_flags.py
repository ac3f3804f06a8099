"""`tools/native_flags.py`: which instruction sets an engine for one machine is built with."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.native_flags import PORTABLE, X86, Compiler, cmake_arguments, read_compiler, read_cpu_flags

HASWELL = {"sse4_2", "f16c", "fma", "bmi2", "avx", "avx2"}
SKYLAKE_X = HASWELL | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
SAPPHIRE_RAPIDS = (
    SKYLAKE_X | {"avx_vnni", "avx512vbmi", "avx512_vnni", "avx512_bf16"} | {"amx_tile", "amx_int8", "amx_bf16"}
)
GCC12, GCC13, CLANG16 = Compiler("gcc", 12), Compiler("gcc", 13), Compiler("clang", 16)


def switched(arguments: list[str], value: str) -> set[str]:
    """What is set to ON or OFF, without its GGML_."""
    pairs = (argument.removeprefix("-DGGML_").split("=") for argument in arguments)
    return {name for name, set_to in pairs if set_to == value}


@pytest.mark.parametrize("compiler", [GCC12, GCC13, CLANG16])
def test_a_processor_that_is_the_portable_build_s_own_needs_nothing_more(compiler: Compiler) -> None:
    assert cmake_arguments("x86_64", HASWELL, compiler) == [PORTABLE]


def test_avx_512_is_used_where_it_is() -> None:
    assert switched(cmake_arguments("x86_64", SKYLAKE_X, GCC12), "ON") == {"AVX512"}


@pytest.mark.parametrize(
    ("compiler", "has_amx"),
    [(GCC12, False), (Compiler("gcc", 11), False), (GCC13, True), (Compiler("gcc", 14), True), (CLANG16, True)],
)
def test_amx_is_left_out_under_a_gcc_that_compiles_it_wrong(compiler: Compiler, *, has_amx: bool) -> None:
    on = switched(cmake_arguments("x86_64", SAPPHIRE_RAPIDS, compiler), "ON")
    assert {"AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16", "AVX_VNNI"} <= on
    assert ({"AMX_TILE", "AMX_INT8", "AMX_BF16"} <= on) is has_amx


def test_the_compiler_is_never_left_to_choose_on_x86() -> None:
    for compiler in (GCC12, GCC13, CLANG16, None):
        assert "NATIVE" in switched(cmake_arguments("x86_64", SAPPHIRE_RAPIDS, compiler), "OFF")


def test_what_a_compiler_is_too_old_for_is_left_out() -> None:
    on = switched(cmake_arguments("x86_64", SAPPHIRE_RAPIDS, Compiler("gcc", 8)), "ON")
    assert on == {"AVX512", "AVX512_VBMI", "AVX512_VNNI"}


def test_a_part_of_an_instruction_set_is_not_the_set() -> None:
    assert cmake_arguments("x86_64", HASWELL | {"avx512f", "amx_tile"}, GCC13) == [PORTABLE]


def test_an_old_processor_gets_less_than_the_portable_build() -> None:
    off = switched(cmake_arguments("x86_64", HASWELL - {"avx2", "fma"}, GCC12), "OFF")
    assert off == {"NATIVE", "AVX2", "FMA"}


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ppc64le", "riscv64"])
def test_other_machines_are_native(machine: str) -> None:
    assert cmake_arguments(machine, {"asimddp"}, GCC12) == ["-DGGML_NATIVE=ON"]


@pytest.mark.parametrize(("flags", "compiler"), [(set[str](), GCC13), (SAPPHIRE_RAPIDS, None)])
def test_what_is_not_known_is_not_relied_on(flags: set[str], compiler: Compiler | None) -> None:
    assert cmake_arguments("x86_64", flags, compiler) == [PORTABLE]


def test_an_instruction_set_is_on_only_where_its_flags_are() -> None:
    """Each set by itself: taking any of its flags away turns it off."""
    for candidate in X86:
        for flag in candidate.flags:
            without = switched(cmake_arguments("x86_64", SAPPHIRE_RAPIDS - {flag}, GCC13), "ON")
            assert candidate.option.removeprefix("GGML_") not in without


def test_cores_that_differ_have_what_all_of_them_have() -> None:
    cpuinfo = "processor : 0\nflags\t\t: fpu avx avx2 avx512f\n\nprocessor : 1\nflags\t\t: fpu avx avx2\n"
    assert read_cpu_flags(cpuinfo) == {"fpu", "avx", "avx2"}
    assert read_cpu_flags("Features\t: fp asimd\n") == set()


@pytest.mark.parametrize(
    ("macros", "compiler"),
    [
        ("#define __GNUC__ 12\n#define __GNUC_MINOR__ 2\n", GCC12),
        ("#define __GNUC__ 4\n#define __clang_major__ 16\n", CLANG16),
        ("#define __llvm__ 1\n", None),
        ("", None),
    ],
)
def test_a_compiler_is_known_by_its_macros(macros: str, compiler: Compiler | None) -> None:
    assert read_compiler(macros) == compiler


def test_the_program_prints_what_cmake_takes(tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho '#define __GNUC__ 12'\n")
    compiler.chmod(0o755)
    program = [sys.executable, ROOT / "tools" / "native_flags.py"]
    environment = {**os.environ, "CXX": str(compiler)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    arguments = shlex.split(done.stdout)
    assert arguments
    assert all(argument.startswith("-DGGML_") for argument in arguments)


def test_error_a_compiler_that_is_not_there() -> None:
    program = [sys.executable, ROOT / "tools" / "native_flags.py"]
    environment = {**os.environ, "CXX": "/nonexistent/c++"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/nonexistent/c++" in done.stderr
