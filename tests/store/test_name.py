"""Name: Ollama's grammar and defaults, a digest besides, nested ones on other registries, and none that leaves its folder."""

from __future__ import annotations

import pytest
from corral.store.digest import Digest
from corral.store.errors import InvalidNameError
from corral.store.local import Store
from corral.store.name import DEFAULT_HOST, Name
from hypothesis import given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED

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

NESTED = {
    "ghcr.io/org/team/models/llama:v1": ("ghcr.io", "org/team/models", "llama", "v1"),
    "localhost/a/b/m": ("localhost", "a/b", "m", "latest"),
    "localhost:5000/a/b/m:t": ("localhost:5000", "a/b", "m", "t"),
    "http://127.0.0.1:5000/a/b/m": ("127.0.0.1:5000", "a/b", "m", "latest"),
    f"ghcr.io/a/b/m:t@{PIN}": ("ghcr.io", "a/b", "m", "t"),
    "GHCR.io/Org/Team/M": ("GHCR.io", "Org/Team", "M", "latest"),
    # Without a namespace, as many of ECR's and ACR's repositories are.
    "123.dkr.ecr.eu-west-1.amazonaws.com/m:v1": ("123.dkr.ecr.eu-west-1.amazonaws.com", "", "m", "v1"),
    "localhost:5000/small": ("localhost:5000", "", "small", "latest"),
    "n.n/m": ("n.n", "", "m", "latest"),
    # As OCI has them and Ollama does not.
    "ghcr.io/my.org/m": ("ghcr.io", "my.org", "m", "latest"),
    f"ghcr.io/n/m:{'t' * 128}": ("ghcr.io", "n", "m", "t" * 128),
    f"ghcr.io/n/{'m' * 81}": ("ghcr.io", "n", "m" * 81, "latest"),
    f"ghcr.io/{'n' * 253}/m": ("ghcr.io", "n" * 253, "m", "latest"),
}
"""Names that Ollama refuses, all of them on hosts that can only be other registries'."""

INVALID = [
    "", " ", "^", "mm:", ":t", "/m", "/nn/mm", "//", "hh//", "h//m", "@", "m@d", "m@", f"@{PIN}", f"m@{PIN}0",
    f"m@{PIN.upper()}", f"m@sha512:{'ab' * 64}", "-hh/nn/mm:tt", "host/name:space/model:tag", "a/b/c/d", "..", "../m",
    "m/..", "n/../m", ".", ".hidden", "m:..", "m:../../x", "h/n/m:..", "m\0", "m\0:t", "m\n", "m:t\n", "é", "m:t/x",
    "m m", "n" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m", "ftp://h/n/m", "http://", "a\\b",
    "m:t:u@" + PIN, "～", "m" * 100_000, "n_n/m.m/x/y",
    "registry.ollama.ai/a/b/m", "Registry.Ollama.AI/a/b/m", "registry.ollama.ai/m", "registry.ollama.ai/n/m:" + "t" * 81,
    "ghcr.io/a/../m/x", "ghcr.io/../../etc/x", "ghcr.io/a/./b/m", "ghcr.io/a//b/m", "ghcr.io//m", "ghcr.io/a/b/", "ghcr.io/",
    "/ghcr.io/a/b/m", "ghcr.io/a+b/m", "ghcr.io/+/m", "ghcr.io/a/+/m", "ghcr.io/a/b+c/m", "ghcr.io/a/b/m+n", "..:5000/a/b/m",
    "ghcr.io/a/-b/c/m", "ghcr.io/a/.b/c/m", "ghcr.io/a/b/m:" + "t" * 129, "ghcr.io/" + "n/" * 127 + "nm", "ghcr.io/a\\b/c/m",
    "ghcr.io/" + "n" * 254 + "/m", "ghcr.io/" + "m" * 256, "ghcr.io/a/b/m:..", "h:x/a/b/m", "h:x/m", "https://a/b/c/d",
    "ghcr.io/a:b/c/m", "ghcr.io/a/b\0/m", "ghcr.io/a/é/m", "ghcr.io/" + "a/" * 100_000 + "m",
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_parts_and_defaults(text: str) -> None:
    assert Name.parse(text).parts == VALID[text]
    assert Name.parse(text).is_ollamas


@pytest.mark.parametrize("text", NESTED)
def test_parts_of_names_on_other_registries(text: str) -> None:
    name = Name.parse(text)
    assert name.parts == NESTED[text]
    assert not name.is_ollamas
    assert Name.parse(str(name)) == name
    assert name.repository == "/".join(part for part in NESTED[text][1:3] if part)
    *folders, tag = NESTED[text]
    assert name.folded() == (*(part.lower() for part in folders), tag)
    assert name.pinned_tag().parts[:3] == name.parts[:3]


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
    "part", ["..", ".", "a/..", "../a", "a/./b", "/", "/a", "a/", "a//b", "a+b", "+", "a\0", "a/b\n", "a:b"]
)
def test_error_for_a_nested_name_put_together_by_hand(part: str) -> None:
    for parts in (("h.h", "n/n", "m", part), ("h.h", "n/n", part, "t"), ("h.h", part, "m", "t")):
        with pytest.raises(InvalidNameError):
            Name(*parts)
    for host in ("h", "localhost", DEFAULT_HOST, DEFAULT_HOST.upper()):
        with pytest.raises(InvalidNameError):
            Name(host, "", "m", "t")


PART = st.text("aZ09_.-+:/ ", max_size=4)


@CHECKED
@given(st.lists(PART | st.sampled_from(["..", "localhost", "ghcr.io", "h:5000", DEFAULT_HOST, "a"]), max_size=6), PART)
def test_what_is_a_name_is_the_same_again_and_stays_in_its_folder(parts: list[str], tag: str) -> None:
    try:
        name = Name.parse("/".join(parts) + (f":{tag}" if tag else ""))
    except InvalidNameError:
        return
    again = Name.parse(str(name))
    assert again == name
    assert again.is_ollamas == name.is_ollamas
    # But for the tags of other registries than Ollama's.
    upper = Name.parse(str(name).upper())
    assert upper.folded()[:3] == name.folded()[:3] or name.host == DEFAULT_HOST
    for pieces in (name.parts[:1], name.namespace.split("/"), name.parts[2:]):
        assert not {"..", "."} & set(pieces)
        assert "/" not in "".join(pieces)
    assert "+" not in str(name)
    pinned = Name.parse(f"{name}@{PIN}")
    assert pinned.digest == Digest.parse(PIN)
    assert Name.parse(str(pinned.pinned_tag())) == pinned.pinned_tag()


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


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ghcr.io/Org/llama:V1", "ghcr.io/org/llama:V1"),
        ("localhost:5000/a/b/M", "localhost:5000/a/b/m:latest"),
        ("ghcr.io/_a/m", "corral cp ghcr.io/_a/m:latest "),
        ("ghcr.io/a/m..m", "corral cp "),
        ("h/n/m-", "corral cp "),
    ],
)
def test_error_for_a_repository_that_no_oci_registry_has(text: str, hint: str) -> None:
    with pytest.raises(InvalidNameError, match="lower") as caught:
        Name.parse(text).check_oci()
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["M", "Owner/M:T", "ghcr.io/a/b/c:V1", "h:5000/a-b/c__d.e--f", "localhost:5000/m"])
def test_other_repositories_are_any_registrys(text: str) -> None:
    Name.parse(text).check_oci()
