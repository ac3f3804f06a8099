"""`show --modelfile`: the text that builds a model again builds the same manifest, or says that it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from corral.modelfile import nodes
from corral.modelfile.describe import describe
from corral.modelfile.printer import UnprintableError, print_instruction, print_lines
from corral.modelfile.source import Span
from corral.store import gojson, manifest
from corral.store.local import Store
from corral.store.name import Name
from corral.store.tags import TaggedModel

Create = Callable[..., TaggedModel]
NOWHERE = Span(0, 0)

TEXTS = [
    "plain",
    " leading and trailing ",
    "\tleading tab",
    "\n",
    "\nleading newline",
    "trailing newline\n",
    "two\nlines",
    "windows\r\nlines\r\n",
    'a "quoted" word',
    '"quoted whole"',
    '"starts quoted',
    'ends quoted"',
    '"',
    '""',
    'a\n"quoted"\nline',
    'has """ inside',
    'has """ inside\nand lines',
    'ends a line with "\nand goes on',
    "# not a comment",
    "FROM elsewhere",
    "line\nFROM elsewhere\nSYSTEM x",
    "back\\slash \\n \\",
    "it's",
    "ünïcödé 日本語 😀",
    "combining a\u0301",
    "{{ .Prompt }}",
    "<|im_start|>&",
    " ",
    "\t",
    "x" * 100_000,
    "\n".join("line" for _ in range(5000)),
]


def again(store: Store, create: Create, model: TaggedModel) -> tuple[TaggedModel, str]:
    text, complete = print_lines(describe(store, model.manifest))
    assert complete
    return create("again", text), text


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:20]))
def test_every_text_comes_back(store: Store, create: Create, text: str) -> None:
    system = print_instruction(nodes.System(text, NOWHERE, NOWHERE))
    licence = print_instruction(nodes.License(text, NOWHERE, NOWHERE))
    message = print_instruction(nodes.Message(text, NOWHERE, NOWHERE, "user", NOWHERE))
    stop = print_instruction(nodes.Parameter(text, NOWHERE, NOWHERE, "stop", NOWHERE))
    model = create("m", "\n".join(["FROM ./tiny.gguf", system, licence, message, stop]))
    assert store.blobs.path(model.manifest.of_type(manifest.SYSTEM)[0].digest).read_bytes() == text.encode()
    assert again(store, create, model)[0].manifest.raw == model.manifest.raw


@pytest.mark.parametrize("text", ["a\0b", "nbsp\xa0", "joined\u200demoji", 'x"\n"""\ny', '"\n"""\n"', "bom\ufeff"])
def test_error_for_a_text_the_language_cannot_say(text: str) -> None:
    node = nodes.System(text, NOWHERE, NOWHERE)
    with pytest.raises(UnprintableError):
        print_instruction(node)
    printed, complete = print_lines([nodes.From("m", NOWHERE, NOWHERE), node])
    assert not complete
    assert printed.startswith("FROM m\n# SYSTEM: ")


PARAMETERS = [
    "num_ctx 1048576",
    "num_ctx 1000000",
    "seed 9223372036854775807",
    "seed -9223372036854775808",
    "seed 9007199254740993",
    "temperature 0.6",
    "temperature 0",
    "temperature 1e-7",
    "temperature 1e-45",
    "temperature 3.4028235e38",
    "temperature 0.1234567890123",
    "temperature 1e21",
    "use_mmap t",
    "use_mmap 0",
    'stop ""',
    'stop " "',
    'stop "\n"',
    'stop "a"b"',
    "stop 1\nPARAMETER stop 0\nPARAMETER stop 1",
    "stop <|im_end|>\nPARAMETER top_k 5\nPARAMETER min_p 0.05",
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_parameter_comes_back(store: Store, create: Create, parameter: str) -> None:
    model = create("m", f"FROM ./tiny.gguf\nPARAMETER {parameter}")
    assert model.manifest.of_type(manifest.PARAMS)
    assert again(store, create, model)[0].manifest.raw == model.manifest.raw


def test_large_integers_are_printed_plainly(store: Store, create: Create) -> None:
    model = create("m", "FROM ./tiny.gguf\nPARAMETER num_ctx 1048576\nPARAMETER temperature 1")
    _, text = again(store, create, model)
    assert "\nPARAMETER num_ctx 1048576\nPARAMETER temperature 1\n" in text


EVERYTHING = """
FROM ./tiny.gguf
TEMPLATE \"\"\"{{ if .System }}{{ .System }}
{{ end }}{{ .Prompt }}\"\"\"
SYSTEM \"\"\" say "hi"
\"\"\"
RENDERER qwen3-coder
PARSER qwen3
REQUIRES 0.14.0
PARAMETER stop "<|end|>"
MESSAGE system be kind
MESSAGE user \"\"\"a
b\"\"\"
MESSAGE assistant ""
LICENSE one
LICENSE " two "
"""


def test_a_whole_model_comes_back_in_ollamas_order(store: Store, create: Create) -> None:
    model = create("m", EVERYTHING)
    made, text = again(store, create, model)
    assert made.manifest.raw == model.manifest.raw
    keywords = [type(node).__name__ for node in describe(store, model.manifest)]
    order = "From Template System Renderer Parser Requires Parameter License License Message Message Message"
    assert " ".join(keywords) == order
    assert text.startswith(f"FROM {store.blobs.path(model.manifest.layers[0].digest)}\n")


def test_a_model_of_a_model_comes_back(store: Store, create: Create) -> None:
    create("base", EVERYTHING)
    child = create("child", "FROM base\nSYSTEM new\nPARAMETER top_k 7\nLICENSE three")
    assert again(store, create, child)[0].manifest.raw == child.manifest.raw


def test_parameters_that_ollamas_api_stored_unchecked_are_shown(store: Store, create: Create) -> None:
    model = create("m", "FROM ./tiny.gguf")
    params = store.blobs.put(gojson.encode({"num_ctx": 4096, "custom": "x"}), manifest.PARAMS).blob
    made = manifest.Manifest.build(model.manifest.config, [*model.manifest.layers, params])
    store.tag(Name.parse("odd"), made)
    text, _ = print_lines(describe(store, made))
    assert "PARAMETER num_ctx 4096\n" in text
    assert "PARAMETER custom x\n" in text
