"""WWW-Authenticate as registries send it, and as they should not."""

from __future__ import annotations

import time

import pytest
from corral.registry.challenge import merged, parse
from hypothesis import given
from hypothesis import strategies as st

HEADERS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "": [],
    " , ,": [],
    "Basic": [("basic", {})],
    'Basic realm="a"': [("basic", {"realm": "a"})],
    'BASIC REALM="a, b"': [("basic", {"realm": "a, b"})],
    'Bearer realm="https://a.example/token",service="a.example",scope="repository:x/y:pull,push"': [
        ("bearer", {"realm": "https://a.example/token", "service": "a.example", "scope": "repository:x/y:pull,push"})
    ],
    "Bearer realm=https://a.example/token?x=1, service=a.example": [
        ("bearer", {"realm": "https://a.example/token?x=1", "service": "a.example"})
    ],
    'Bearer realm = "a" , service= "b"': [("bearer", {"realm": "a", "service": "b"})],
    r'Bearer realm="a\"b\\c"': [("bearer", {"realm": r"a\"b\c".replace(r"\"", '"')})],
    'Bearer realm="a", Basic realm="b", charset="UTF-8"': [
        ("bearer", {"realm": "a"}),
        ("basic", {"realm": "b", "charset": "UTF-8"}),
    ],
    'Negotiate, Basic realm="b"': [("negotiate", {}), ("basic", {"realm": "b"})],
    'Negotiate abc==, Bearer realm="a"': [("negotiate", {"abc": "="}), ("bearer", {"realm": "a"})],
    'Bearer realm="a",realm="b"': [("bearer", {"realm": "a"})],
    'Bearer realm=""': [("bearer", {"realm": ""})],
    'Bearer realm="never ends': [("bearer", {"realm": ""})],
    'realm="nobody"': [],
    'Bearer realm="a" @@@ Basic': [("bearer", {"realm": "a"})],
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header(header: str) -> None:
    assert [(found.scheme, found.parameters) for found in parse(header)] == HEADERS[header]


@given(st.text() | st.text('Bearer realm="a,\\= \t'))
def test_any_text_gives_challenges(header: str) -> None:
    assert all(found.scheme == found.scheme.lower() for found in parse(header))


def test_a_long_header_takes_no_long_time() -> None:
    for text in ('"' * 60_000, "Bearer a=" + '"\\' * 30_000, "Bearer " + "a" * 60_000, "Bearer " + "a ," * 20_000):
        started = time.process_time()
        parse(text)
        # It takes some milliseconds; by the square of its length it would be minutes.
        assert time.process_time() - started < 1.0


def test_scopes_of_one_resource_are_one() -> None:
    assert merged(["repository:a:pull", "registry:catalog:*", "repository:a:push,pull", "repository:a:pull"]) == (
        "registry:catalog:*",
        "repository:a:pull,push",
    )
    assert merged([]) == ()
