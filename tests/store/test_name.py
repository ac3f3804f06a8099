"""Name: Ollama's grammar and defaults, a digest besides, and nothing that could leave its folder."""

from __future__ import annotations

import pytest
from corral.store.errors import InvalidNameError
from corral.store.local import Store
from corral.store.name import Name

PIN = "sha256:" + "ab" * 32

VALID = {
    "m": ("registry.ollama.ai", "library", "m", "latest"),
    "m:t": ("registry.ollama.ai", "library", "m", "t"),
    "n/m": ("registry.ollama.ai", "n", "m", "latest"),
    "n/m:t": ("registry.ollama.ai", "n", "m", "t"),
    "h/n/m": ("h", "n", "m", "latest"),
    "h/n/m:t": ("h", "n", "m", "t"),
    "localhost:5000/n/m": ("localhost:5000", "n", "m", "latest"),
    "host:port/ns/m:t": ("host:port", "ns", "m", "t"),
    "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M": (
        "hf.co",
        "bartowski",
        "Llama-3.2-1B-Instruct-GGUF",
        "Q4_K_M",
    ),
    "_why/_the/_lucky:_stiff": ("_why", "_the", "_lucky", "_stiff"),
    "Mixed:Case": ("registry.ollama.ai", "library", "Mixed", "Case"),
    "http://h/n/m": ("h", "n", "m", "latest"),
    "n" * 80: ("registry.ollama.ai", "library", "n" * 80, "latest"),
    f"m:t@{PIN}": ("registry.ollama.ai", "library", "m", "t"),
    f"localhost:5000/n/m@{PIN}": ("localhost:5000", "n", "m", "latest"),
}

INVALID = [
    "", " ", "^", "mm:", ":t", "/m", "/nn/mm", "//", "hh//", "h//m", "@", "m@d", "m@", f"@{PIN}", f"m@{PIN}0",
    f"m@{PIN.upper()}", f"m@sha512:{'ab' * 64}", "-hh/nn/mm:tt", "host/name:space/model:tag", "a/b/c/d", "..", "../m",
    "m/..", "n/../m", ".", ".hidden", "m:..", "m:../../x", "h/n/m:..", "m\0", "m\0:t", "m\n", "m:t\n", "é", "m:t/x",
    "m m", "n.n/m", "n" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m", "ftp://h/n/m", "http://", "a\\b",
    "m:t:u@" + PIN, "～", "m" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_parts_and_defaults(text: str) -> None:
    assert Name.parse(text).parts == VALID[text]


@pytest.mark.parametrize("text", INVALID)
def test_error_for_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        Name.parse(text)
    assert caught.value.text == text
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\0", "a\n"])
def test_error_for_a_name_put_together_by_hand(part: str) -> None:
    for parts in (("h", "n", "m", part), ("h", "n", part, "t"), ("h", part, "m", "t"), (part, "n", "m", "t")):
        with pytest.raises(InvalidNameError):
            Name(*parts)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("m", "m:latest"),
        ("registry.ollama.ai/library/m:t", "m:t"),
        ("library/m", "m:latest"),
        ("n/m", "n/m:latest"),
        ("h/library/m", "h/library/m:latest"),
        ("https://h/n/m", "h/n/m:latest"),
        (f"m@{PIN}", f"m:latest@{PIN}"),
    ],
)
def test_shown_in_ollamas_shortest_form(text: str, shown: str) -> None:
    assert str(Name.parse(text)) == shown
    assert Name.parse(shown) == Name.parse(text)


def test_a_digest_is_what_a_registry_is_asked_for() -> None:
    name = Name.parse(f"h/n/m:t@{PIN}")
    assert name.reference == PIN
    assert name.repository == "n/m"
    assert name.pinned_tag() == Name("h", "n", "m", PIN.replace(":", "-"))
    assert Name.parse("h/n/m:t").reference == "t"


def test_the_scheme_is_no_part_of_the_identity() -> None:
    plain, secure = Name.parse("http://h/n/m"), Name.parse("https://h/n/m")
    assert (plain.scheme, secure.scheme, Name.parse("h/n/m").scheme) == ("http", "https", None)
    assert plain == secure


def test_a_host_too_long_for_the_file_system_is_an_error_of_ours(store: Store) -> None:
    from corral.store.errors import CorralError

    store.tags.folder.mkdir(parents=True)
    with pytest.raises(CorralError, match=r"too long|not found"):
        store.find(Name.parse("h" * 300 + "/n/m"))
