"""Secrets: tokens and keys that somebody pasted into a text, by the forms their issuers document. Pure.

Only forms that nothing else has: a false alarm teaches people to ignore the true one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_FORMS = (
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
    ("a GitLab token", r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,255}"),
    ("a Hugging Face token", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,255}\b"),
    (
        "an API key",
        r"(?<![A-Za-z0-9])sk-(?=[A-Za-z0-9_-]{0,255}[0-9])(?=[A-Za-z0-9_-]{0,255}[A-Z])[A-Za-z0-9_-]{20,255}",
    ),
    ("a Stripe key", r"(?<![A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{16,255}"),
    ("an npm token", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Slack token", r"(?<![A-Za-z0-9])xox[abposr]-[A-Za-z0-9-]{10,255}"),
    (
        "a JSON web token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,1024}\.eyJ[A-Za-z0-9_-]{8,1024}\.[A-Za-z0-9_-]{8,1024}",
    ),
)
_ANY = re.compile("|".join(f"(?P<f{number}>{form})" for number, (_, form) in enumerate(_FORMS)))


def find_secrets(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """What it is, and from where to where in the text."""
    for found in _ANY.finditer(text, start, end):
        assert found.lastgroup
        yield _FORMS[int(found.lastgroup[1:])][0], found.start(), found.end()
