"""Name: what a user calls a model, `[scheme://][host/][namespace/]model[:tag][@sha256:…]`, with Ollama's defaults.

The rules are Ollama's (types/model/name.go, v0.33); the digest is ours. Every part is checked on construction, so a Name
can be turned into a path or a URL without further care. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from .digest import Digest
from .errors import InvalidDigestError, InvalidNameError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_RULES = {
    "host": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"), "a host of letters, digits and _ - . :"),
    "namespace": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"), "a namespace of up to 80 letters, digits, _ and -"),
    "model": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "a model of up to 80 letters, digits and _ - ."),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "a tag of up to 80 letters, digits and _ - ."),
}


@dataclass(frozen=True, slots=True)
class Name:
    """A fully qualified model name; str() is Ollama's shortest display form, the tag always shown."""

    host: str
    namespace: str
    model: str
    tag: str
    digest: Digest | None = None
    """The manifest the name is pinned to, if any."""
    scheme: str | None = field(default=None, compare=False)
    """`http` or `https` when the user wrote one; it is a wish about transport, not part of the identity."""

    def __post_init__(self) -> None:
        for part, (rule, words) in _RULES.items():
            value = getattr(self, part)
            if not rule.fullmatch(value):
                raise InvalidNameError(value, f"expected {words}")

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read what a user typed, filling in Ollama's defaults. Raises InvalidNameError."""
        try:
            return cls._parse(text)
        except InvalidNameError as error:
            raise InvalidNameError(text, error.why) from None

    @classmethod
    def _parse(cls, text: str) -> Name:
        scheme = None
        rest = text
        if "://" in rest:
            scheme, _, rest = rest.partition("://")
            if scheme not in ("http", "https"):
                raise InvalidNameError(text, "the scheme must be http or https")
        digest = None
        tag = DEFAULT_TAG
        if "@" in rest:
            rest, _, pinned = rest.partition("@")
            try:
                digest = Digest.parse(pinned)
            except InvalidDigestError:
                raise InvalidNameError(text, "expected @sha256: and 64 lower-case hex digits") from None
            if digest.algorithm != "sha256":
                raise InvalidNameError(text, "only sha256 digests can be pinned")
        if rest.rfind(":") > rest.rfind("/"):
            rest, _, tag = rest.rpartition(":")
        parts = rest.split("/")
        if not 1 <= len(parts) <= 3:
            raise InvalidNameError(text, "too many slashes")
        host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
        return cls(host, namespace, model, tag, digest, scheme)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model, tag: the four path parts of the store."""
        return (self.host, self.namespace, self.model, self.tag)

    @property
    def repository(self) -> str:
        """`namespace/model`, as registries know it."""
        return f"{self.namespace}/{self.model}"

    @property
    def reference(self) -> str:
        """What to ask a registry for: the digest when pinned, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def pinned_tag(self) -> Name:
        """The name under which a pull by digest is kept: a tag `sha256-<hex>`, so that Ollama sees it too."""
        return replace(self, tag=self.digest.filename, digest=None) if self.digest else self

    def folded(self) -> tuple[str, ...]:
        """The key under which Ollama treats two spellings as one name."""
        return tuple(part.lower() for part in self.parts)

    def __str__(self) -> str:
        shown = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            shown = f"{self.host}/{self.namespace}/{shown}"
        elif self.namespace != DEFAULT_NAMESPACE:
            shown = f"{self.namespace}/{shown}"
        return f"{shown}@{self.digest}" if self.digest else shown
