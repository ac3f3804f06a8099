"""The CMake arguments of an engine for this very machine: `python3 tools/native_flags.py` prints them for tools/setup.sh.

Instruction sets are named one by one, where GGML_NATIVE=ON would take whatever the compiler knows of the processor: AMX
compiled by a GCC older than 13 ends the process at the first prompt. Standard library only; it runs before .venv is there.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

PORTABLE = "-DGGML_NATIVE=OFF"


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler, as far as it matters which."""

    name: str
    """`gcc` or `clang`."""
    major: int


@dataclass(frozen=True)
class InstructionSet:
    """A switch of ggml's CMake files."""

    option: str
    flags: tuple[str, ...]
    """What /proc/cpuinfo calls it; all of them are needed."""
    gcc: int
    """The first major version that compiles it, and rightly."""
    clang: int
    is_portable: bool = False
    """On unless it is turned off."""


X86 = (
    InstructionSet("GGML_SSE42", ("sse4_2",), 5, 5, is_portable=True),
    InstructionSet("GGML_F16C", ("f16c",), 5, 5, is_portable=True),
    InstructionSet("GGML_FMA", ("fma",), 5, 5, is_portable=True),
    InstructionSet("GGML_BMI2", ("bmi2",), 5, 5, is_portable=True),
    InstructionSet("GGML_AVX", ("avx",), 5, 5, is_portable=True),
    InstructionSet("GGML_AVX2", ("avx2",), 5, 5, is_portable=True),
    InstructionSet("GGML_AVX_VNNI", ("avx_vnni",), 11, 12),
    InstructionSet("GGML_AVX512", ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"), 6, 5),
    InstructionSet("GGML_AVX512_VBMI", ("avx512f", "avx512vbmi"), 6, 5),
    InstructionSet("GGML_AVX512_VNNI", ("avx512f", "avx512_vnni"), 8, 7),
    InstructionSet("GGML_AVX512_BF16", ("avx512f", "avx512_bf16"), 10, 9),
    # GCC 12 stores one byte of the 64 that configure the tiles: github.com/ggml-org/llama.cpp/issues/20824.
    InstructionSet("GGML_AMX_TILE", ("amx_tile", "avx512_vnni"), 13, 12),
    InstructionSet("GGML_AMX_INT8", ("amx_tile", "amx_int8", "avx512_vnni"), 13, 12),
    InstructionSet("GGML_AMX_BF16", ("amx_tile", "amx_bf16", "avx512_vnni"), 13, 12),
)


def cmake_arguments(machine: str, cpu_flags: Collection[str], compiler: Compiler | None) -> list[str]:
    """The best that both the processor and the compiler can be trusted with.

    `machine` is uname's, `cpu_flags` are those of /proc/cpuinfo. An x86 processor of which nothing is known, or a compiler
    that is not known, gets the portable build. Other machines' compilers are asked by ggml itself, feature by feature.
    """
    if machine.lower() not in ("x86_64", "amd64", "i686", "i386"):
        return ["-DGGML_NATIVE=ON"]
    if not cpu_flags or compiler is None:
        return [PORTABLE]
    arguments = [PORTABLE]
    for candidate in X86:
        compiles = compiler.major >= (candidate.gcc if compiler.name == "gcc" else candidate.clang)
        is_used = compiles and all(flag in cpu_flags for flag in candidate.flags)
        if is_used != candidate.is_portable:
            arguments.append(f"-D{candidate.option}={'ON' if is_used else 'OFF'}")
    return arguments


def read_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The processor's flags in the text of /proc/cpuinfo: what all cores have."""
    cores = [set(line.partition(":")[2].split()) for line in cpuinfo.splitlines() if line.startswith("flags")]
    return frozenset(set[str].intersection(*cores) if cores else ())


def read_compiler(macros: str) -> Compiler | None:
    """The compiler by the macros it predefines (`c++ -dM -E`), None for another than GCC and Clang."""
    found = dict(re.findall(r"^#define (__clang_major__|__apple_build_version__|__GNUC__) (\d+)", macros, re.MULTILINE))
    if "__clang_major__" in found:  # it has __GNUC__ too
        return Compiler("clang", int(found["__clang_major__"]))
    return Compiler("gcc", int(found["__GNUC__"])) if "__GNUC__" in found else None


def main() -> None:
    """Print the arguments, quoted as CMAKE_ARGS is read."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = read_cpu_flags(cpuinfo.read_text() if cpuinfo.exists() else "")
    command = [*shlex.split(os.environ.get("CXX") or "c++"), "-dM", "-E", "-x", "c++", os.devnull]
    try:
        compiler = read_compiler(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError) as cause:
        sys.exit(f"{shlex.join(command)}: {cause}")
    print(shlex.join(cmake_arguments(platform.machine(), flags, compiler)))


if __name__ == "__main__":
    main()
