"""The level of Ollama's API that Corral implements, and how REQUIRES compares with it (semantic versioning 2.0). Pure."""

from __future__ import annotations

import re

API_LEVEL = "0.33.0"

_MAX_LENGTH = 256
_NUMBER = r"(?:0|[1-9]\d{0,99})"
_PRE = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER})(?:\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?",
    re.ASCII,
)


def is_version(text: str) -> bool:
    """Whether REQUIRES may say so: a `v` in front and missing parts are allowed, as in Ollama."""
    return len(text) <= _MAX_LENGTH and bool(_VERSION.fullmatch(text))


def is_above_level(text: str) -> bool:
    """Whether a version asks for more than API_LEVEL. A pre-release of a version is below it."""
    return _key(text) > _key(API_LEVEL)


def _key(text: str) -> tuple[int, int, int, bool]:
    found = _VERSION.fullmatch(text)
    if not found:
        return (0, 0, 0, False)
    major, minor, patch = (int(found[part] or 0) for part in ("major", "minor", "patch"))
    return (major, minor, patch, not found["pre"])
