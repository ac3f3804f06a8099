"""The numbers of tensor types, as the engine itself and the `gguf` package have them."""

from __future__ import annotations

import ctypes
import re
from importlib.util import find_spec
from pathlib import Path

from corral.store.ggml import FILE_TYPES, TENSOR_NUMBERS, TENSOR_TYPES
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType


def test_tensor_types_are_the_engines() -> None:
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    library = next((Path(spec.origin).parent / "lib").glob("libggml-base.*"))
    ggml = ctypes.CDLL(str(library))
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    theirs = {
        number: (number, ggml.ggml_type_name(number).decode().upper(), ggml.ggml_blck_size(number), size)
        for number in range(max(TENSOR_TYPES) + 1)
        if (size := ggml.ggml_type_size(number))
    }
    assert theirs == TENSOR_TYPES


def test_every_type_of_the_gguf_package_is_known_by_its_name() -> None:
    for kind in GGMLQuantizationType:
        assert TENSOR_NUMBERS[kind.name] == kind.value
        if kind.name != "Q8_1":  # The package has the size it was before 2024; no file has tensors of this type.
            assert TENSOR_TYPES[kind.value][2:] == GGML_QUANT_SIZES[kind]


def test_file_types_are_those_of_the_gguf_package() -> None:
    for kind in LlamaFileType:
        assert FILE_TYPES[kind.value] == re.sub("^(MOSTLY|ALL)_", "", kind.name)
