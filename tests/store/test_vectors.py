"""The blob digests that Ollama itself gives (spec part 4.5). They are copied, not computed."""

from __future__ import annotations

import pytest
from corral.store import gojson
from corral.store.config import Config
from corral.store.digest import Digest

PARAMS: dict[str, dict[str, gojson.Json]] = {
    "e29a7b3c47287a2489c895d21fe413c20f859a85d20e749492f52a838e36e1ba": {
        "top_p": 0.7,
        "top_k": 10,
        "temperature": 0.6,
        "stop": ["USER:", "ASSISTANT:"],
    },
    "1d0ad71299d48c2fb7ae2b98e683643e771f8a5b72be34942af90d97a91c1e37": {
        "temperature": 1.0,
        "stop": ["USER:", "ASSISTANT:"],
        "top_k": 10,
    },
}


@pytest.mark.parametrize("digest", PARAMS)
def test_params(digest: str) -> None:
    assert Digest.of(gojson.encode(PARAMS[digest], sort_keys=True)).hex == digest


def test_config() -> None:
    config = Config(
        model_format="gguf", model_family="test", model_families=["test"], model_type="0", file_type="unknown"
    )
    assert Digest.of(config.encode()).hex == "99759ad5b91e723db0393d698ffbb448b1b7df5ff6377a108c49254583b1bc8c"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("Say bye!", "4c5f51fa", "a7cc86"), ("{{ .System }} {{ .Prompt }}", "fe7ac77b", "5991ed")],
)
def test_texts_are_stored_as_they_are(text: str, start: str, end: str) -> None:
    hex_digits = Digest.of(text.encode()).hex
    assert hex_digits.startswith(start)
    assert hex_digits.endswith(end)
