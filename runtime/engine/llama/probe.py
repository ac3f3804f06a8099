"""Tries the installed engine out, in a process that is thrown away: `python -m corral.runtime.engine.llama.probe [HOW]`.

It prints a Build as JSON, when told `devices` the list of them only; or a Refused, with the exit status 1. Told `plain` it
leaves weights as they are instead of repacking them for the processor. A signal is an answer too: see build.py.
"""

from __future__ import annotations

import ctypes
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from ....store.errors import MachineError
from ..build import BROKEN, DEVICES, WITHOUT_EXTRA_BUFFERS, Build, Device, Refused
from ..worker import NOT_INSTALLED

_VERSIONS = {"llama_version": "0.5.0-dev", "ggml_version": "0.25.3"}
"""Of the libraries that belong to the bindings that are pinned; LLAMA_CPP_LIB_PATH may name others."""
_SIZES = {
    "llama_model_params": 80,
    "llama_context_params": 160,
    "llama_batch": 56,
    "llama_sampler_chain_params": 1,
    "llama_token_data": 12,
    "llama_token_data_array": 32,
}
"""Bytes of the structs in the version that is pinned, on machines of 64 bits."""
_MODEL = {"n_gpu_layers": -1, "main_gpu": 0, "vocab_only": False, "use_extra_bufts": True, "load_mtp": False}
_CONTEXT = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_seq_max": 1,
    "pooling_type": -1,
    "yarn_beta_slow": -1.0,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
    "swa_full": True,
    "kv_unified": False,
    "n_samplers": 0,
}
"""Defaults of the pinned version, from the first field of a struct to its last: read elsewhere, they are something else."""
_KINDS = ("cpu", "gpu", "igpu", "accel")
_FEATURES = frozenset(("ACCELERATE", "KLEIDIAI", "LLAMAFILE", "OPENMP", "REPACK"))
"""What the engine names beside instruction sets."""
_TOKENS = 48


def main(arguments: list[str]) -> int:
    """Print the answer. The exit status is 1 when the engine cannot be used."""
    answer: Build | list[Device] | Refused
    try:
        from .library import llama, start_engine

        # The bindings have no ggml of their own libraries; what the engine's library depends on is found through it.
        library: Any = llama.llama_cpp._lib
        start_engine()
        versions = _versions(library)
        _check_layout(llama)
        if DEVICES in arguments:
            answer = _devices(library)
        else:
            answer = _build(llama, library, versions, repacks=WITHOUT_EXTRA_BUFFERS not in arguments)
    except ImportError as cause:
        answer = Refused(f"the engine is not installed: {cause}", NOT_INSTALLED)
    except MachineError as error:
        answer = Refused(str(error), error.hint or BROKEN)
    except (
        OSError,
        RuntimeError,
        AttributeError,
    ) as cause:  # the bindings', at libraries that differ or cannot be loaded
        answer = Refused(f"the engine is broken: {cause}", BROKEN)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return int(isinstance(answer, Refused))


def _versions(library: Any) -> str:
    for function, expected in _VERSIONS.items():
        call = getattr(library, function)
        call.restype = ctypes.c_char_p
        if (has := call().decode("utf-8", "replace")) != expected:
            raise MachineError(f"the engine is not the one expected: its {function} is {has}, expected {expected}")
    return ", ".join(f"{name.removesuffix('_version')} {version}" for name, version in _VERSIONS.items())


def _check_layout(llama: Any) -> None:
    for name, size in _SIZES.items():
        if (has := ctypes.sizeof(getattr(llama, name))) != size:
            raise MachineError(f"the engine is not the one expected: {name} has {has} bytes, expected {size}")
    for params, defaults in (
        (llama.llama_model_default_params(), _MODEL),
        (llama.llama_context_default_params(), _CONTEXT),
    ):
        for field, value in defaults.items():
            if (has := getattr(params, field)) != value:
                kind = type(params).__name__
                raise MachineError(f"the engine is not the one expected: {kind}.{field} is {has!r}, expected {value!r}")


def _build(llama: Any, library: Any, versions: str, *, repacks: bool) -> Build:
    with tempfile.TemporaryDirectory(prefix="corral-") as folder:
        _evaluate(llama, Path(folder), repacks=repacks)
    system = llama.llama_print_system_info().decode().strip()
    return Build(
        version=f"{llama.__version__} ({versions})",
        system=system,
        instruction_sets=instruction_sets(system),
        devices=_devices(library),
        offloads=llama.llama_supports_gpu_offload(),
        use_extra_buffers=repacks,
    )


def instruction_sets(system: str) -> list[str]:
    """Those the engine names: `CPU : AVX = 1 | AVX2 = 1 | ...`, where other parts may come before."""
    words = (entry.split("=") for entry in system.rpartition("CPU :")[2].split("|") if "=" in entry)
    return [name.strip() for name, value in words if value.strip() == "1" and name.strip() not in _FEATURES]


def _devices(library: Any) -> list[Device]:
    handle, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    for name, result, arguments in (
        ("count", ctypes.c_size_t, []),
        ("get", handle, [ctypes.c_size_t]),
        ("name", ctypes.c_char_p, [handle]),
        ("description", ctypes.c_char_p, [handle]),
        ("type", ctypes.c_int, [handle]),
        ("memory", None, [handle, size, size]),
    ):
        function = getattr(library, f"ggml_backend_dev_{name}")
        function.restype, function.argtypes = result, arguments
    count = library.ggml_backend_dev_count()
    return [_device(library, library.ggml_backend_dev_get(number)) for number in range(count)]


def _device(library: Any, handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    library.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    number: int = library.ggml_backend_dev_type(handle)
    return Device(
        name=_text(library.ggml_backend_dev_name(handle)),
        description=_text(library.ggml_backend_dev_description(handle)).strip(),
        kind=_KINDS[number] if 0 <= number < len(_KINDS) else "accel",
        free=free.value,
        total=total.value,
    )


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _evaluate(llama: Any, folder: Path, *, repacks: bool) -> None:
    """Evaluate a batch and then one token, each of which has its own kernels, on the processor."""
    from .specimen import TOKENS, write_specimen

    write_specimen(folder / "specimen.gguf")
    params = llama.llama_model_default_params()
    params.use_extra_bufts = repacks
    params.n_gpu_layers = 0
    no_device = (ctypes.c_void_p * 1)(None)
    params.devices = ctypes.cast(no_device, ctypes.c_void_p)
    model = llama.llama_model_load_from_file(bytes(folder / "specimen.gguf"), params)
    wanted = llama.llama_context_default_params()
    wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = 2 * _TOKENS
    wanted.n_threads = wanted.n_threads_batch = 1
    context = model and llama.llama_init_from_model(model, wanted)
    if not context:
        raise MachineError("the engine is broken: it cannot load a model made for trying it out")
    tokens = (ctypes.c_int32 * _TOKENS)(*range(3, 3 + _TOKENS))
    for count in (_TOKENS, 1):
        if code := llama.llama_decode(context, llama.llama_batch_get_one(tokens, count)):
            raise MachineError(f"the engine is broken: it cannot evaluate {count} tokens: code {code}")
        logits: list[float] = llama.llama_get_logits_ith(context, -1)[:TOKENS]
        if not all(map(math.isfinite, logits)) or len(set(logits)) == 1:
            raise MachineError(f"the engine is broken: its results for {count} tokens are no numbers, or all the same")
    llama.llama_free(context)
    llama.llama_model_free(model)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
