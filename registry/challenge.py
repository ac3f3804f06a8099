"""Challenge: what a registry's `WWW-Authenticate` asks for, by RFC 9110 section 11.6.1. Pure.

Several challenges may stand in one header, or in several that were joined by commas. Parameters may be quoted or bare;
bare ones may hold more than the RFC allows (an address), as some registries send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = re.compile(r"[\s,]*")
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: the scheme in lower case, and its parameters by their lower-case names."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def scopes(self) -> list[str]:
        """The scopes a Bearer challenge asks for."""
        return self.parameters.get("scope", "").split()


def parse(header: str) -> list[Challenge]:
    """The header's challenges in their order, up to where it stops making sense."""
    found: list[Challenge] = []
    parameters: dict[str, str] | None = None
    position = _end(_GAP, header, 0)
    while position < len(header):
        if parameters is not None and (match := _PARAMETER.match(header, position)):
            quoted, bare = match.group(2), match.group(3)
            parameters.setdefault(match.group(1).lower(), bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        elif match := _SCHEME.match(header, position):
            parameters = {}
            found.append(Challenge(match.group(1).lower(), parameters))
        else:
            break
        position = _end(_GAP, header, match.end())
    return found


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def merged(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes with those of one resource as one, in a fixed order, so that equal wishes share a token."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, _, wanted = scope.rpartition(":")
        actions.setdefault(resource, set()).update(wanted.split(","))
    return tuple(f"{resource}:{','.join(sorted(wanted))}" for resource, wanted in sorted(actions.items()))
