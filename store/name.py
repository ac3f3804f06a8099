"""Name: what a user calls a model, `[scheme://][host/][namespace/]model[:tag][@sha256:…]`, with Ollama's defaults.

The rules are Ollama's (types/model/name.go, v0.33); the digest is ours. On a host that can only be another registry's, a
namespace may have several parts joined by /, or none, and all may be as long as OCI allows: none of these is a name to
Ollama. Every part is checked on construction, so a Name can be turned into a path or a URL without further care. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from .digest import Digest
from .errors import InvalidDigestError, InvalidNameError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_Rules = dict[str, tuple[re.Pattern[str], str]]

_OLLAMAS: _Rules = {
    "host": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"), "a host of letters, digits and _ - . :"),
    "namespace": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"), "a namespace of up to 80 letters, digits, _ and -"),
    "model": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "a model of up to 80 letters, digits and _ - ."),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "a tag of up to 80 letters, digits and _ - ."),
}
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_OCI: _Rules = {
    "host": _OLLAMAS["host"],
    "namespace": (
        re.compile(rf"(?:{_PART}(?:/{_PART})*)?"),
        "a namespace of letters, digits and _ - . in parts joined by /",
    ),
    "model": (re.compile(_PART), "a model of letters, digits and _ - ."),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"), "a tag of up to 128 letters, digits and _ - ."),
}
_MAX_REPOSITORY = 255
_REGISTRY = re.compile(r"localhost|.*\..*|.*:[0-9]+")
_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
OCI_REPOSITORY = re.compile(rf"{_WORD}(?:/{_WORD})*")
"""Distribution spec 1.1, pulling manifests."""


@dataclass(frozen=True, slots=True)
class Name:
    """A fully qualified model name; str() is Ollama's shortest display form, the tag always shown."""

    host: str
    namespace: str
    """On other registries than Ollama's perhaps several parts joined by /, or ""."""
    model: str
    tag: str
    digest: Digest | None = None
    """The manifest the name is pinned to, if any."""
    scheme: str | None = field(default=None, compare=False)
    """`http` or `https` when the user wrote one; it is a wish about transport, not part of the identity."""
    is_ollamas: bool = field(init=False, compare=False, repr=False)
    """Whether Ollama too has such names, so that its four folders for a manifest can express it."""

    def __post_init__(self) -> None:
        wrong = self._wrong(_OLLAMAS)
        object.__setattr__(self, "is_ollamas", wrong is None)
        if wrong and _is_registry(self.host):
            wrong = self._wrong(_OCI)
            if wrong is None and len(self.repository) > _MAX_REPOSITORY:
                wrong = InvalidNameError(
                    self.repository, f"expected a repository of up to {_MAX_REPOSITORY} characters"
                )
            if wrong is None and not (self.namespace or _may_stand_before_a_model(self.host)):
                wrong = InvalidNameError(self.namespace, "expected a namespace")
        if wrong:
            raise wrong

    def _wrong(self, rules: _Rules) -> InvalidNameError | None:
        for part, (rule, words) in rules.items():
            value = getattr(self, part)
            if not rule.fullmatch(value):
                return InvalidNameError(value, f"expected {words}")
        return None

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
        if "" in parts[1:-1]:
            raise InvalidNameError(text, "there is nothing between two slashes")
        if len(parts) > 3 and not _is_registry(parts[0]):
            raise InvalidNameError(text, "too many slashes")
        if len(parts) > 3 or (len(parts) == 2 and _may_stand_before_a_model(parts[0])):
            parts[1:-1] = ["/".join(parts[1:-1])]
        host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
        return cls(host, namespace, model, tag, digest, scheme)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model, tag: the four path parts of the store."""
        return (self.host, self.namespace, self.model, self.tag)

    @property
    def repository(self) -> str:
        """`namespace/model`, as registries know it; the model alone where there is no namespace."""
        return f"{self.namespace}/{self.model}" if self.namespace else self.model

    @property
    def reference(self) -> str:
        """What to ask a registry for: the digest when pinned, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def pinned_tag(self) -> Name:
        """The name under which a pull by digest is kept: a tag `sha256-<hex>`, so that Ollama sees it too."""
        return replace(self, tag=self.digest.filename, digest=None) if self.digest else self

    def folded(self) -> tuple[str, ...]:
        """The key under which two spellings are one name: as Ollama has it, but for the tags of other registries."""
        *parts, tag = self.parts
        return (*(part.lower() for part in parts), tag.lower() if self.host.lower() == DEFAULT_HOST else tag)

    def is_tag(self, spelled: str) -> bool:
        """Whether a tag in this spelling is this name's."""
        return spelled == self.tag or (self.host.lower() == DEFAULT_HOST and spelled.lower() == self.tag.lower())

    def check_oci(self) -> None:
        """Raise InvalidNameError where a registry that is not Ollama's would refuse the repository, with what to do."""
        if self.host.lower() == DEFAULT_HOST or OCI_REPOSITORY.fullmatch(self.repository):
            return
        lowered = self.repository.lower()
        if OCI_REPOSITORY.fullmatch(lowered):
            error = InvalidNameError(str(self), "OCI registries have repositories in lower case only")
            error.hint = f"push it in lower case, as which it is found here too: {self.host}/{lowered}:{self.tag}"
        else:
            why = (
                "OCI registries have repositories of lower-case letters and digits, with one of . _ __ - inside at most"
            )
            error = InvalidNameError(str(self), why)
            error.hint = f"give it another name: corral cp {self} {self.host}/…"
        raise error

    def __str__(self) -> str:
        shown = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            shown = f"{self.host}/{self.repository}:{self.tag}"
        elif self.namespace != DEFAULT_NAMESPACE:
            shown = f"{self.namespace}/{shown}"
        return f"{shown}@{self.digest}" if self.digest else shown


def _is_registry(host: str) -> bool:
    """Whether a name may begin so that has more parts, or longer ones, than Ollama's names have."""
    return host.lower() != DEFAULT_HOST and _REGISTRY.fullmatch(host.lower()) is not None


def _may_stand_before_a_model(host: str) -> bool:
    """Whether `host/model` is a repository without a namespace; Ollama's rule for two parts is namespace and model."""
    return _is_registry(host) and not _OLLAMAS["namespace"][0].fullmatch(host)
