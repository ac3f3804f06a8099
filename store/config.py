"""Config: the small JSON blob that describes a model, byte-identical to Ollama's (spec part 4.4). Pure."""

from __future__ import annotations

import msgspec

from . import gojson
from .errors import InvalidManifestError
from .header import GGUF

MAX_CONFIG_BYTES = 4 << 20


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the config blob says. Fields are in the blob's key order; unknown keys of foreign configs are ignored."""

    model_format: str = ""
    model_family: str = ""
    model_families: list[str] | None = None
    model_type: str = ""
    """The parameter count for people, e.g. `134.52M`."""
    file_type: str = ""
    """The quantisation, e.g. `Q4_K_M`."""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] | None = None
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    architecture: str = "amd64"
    os: str = "linux"

    @classmethod
    def parse(cls, raw: bytes, identity: str = "config") -> Config:
        """Read a config blob. Raises InvalidManifestError for what is not a JSON object of these types."""
        if len(raw) > MAX_CONFIG_BYTES:
            raise InvalidManifestError(identity, f"config of {len(raw)} bytes, at most {MAX_CONFIG_BYTES} are read")
        try:
            return _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
            raise InvalidManifestError(identity, f"config: {cause}") from None

    @classmethod
    def of(cls, weights: GGUF) -> Config:
        """What the header of the weights says."""
        return cls(
            model_format="gguf",
            model_family=weights.architecture,
            model_families=[weights.architecture],
            model_type=human_number(weights.parameter_count),
            file_type=weights.file_type,
        )

    def encode(self) -> bytes:
        """The blob's bytes: the five model facts and the platform always, the rest when set."""
        fields: dict[str, gojson.Json] = {}
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if value or key in _ALWAYS:
                fields[key] = value
        return gojson.encode(fields)


_ALWAYS = {"model_format", "model_family", "model_families", "model_type", "file_type", "architecture", "os"}
_decoder = msgspec.json.Decoder(Config)


def human_number(count: int) -> str:
    """A parameter count as Ollama shows it: `8B`, `134.52M`, `12K`."""
    for unit, letter, form in ((1_000_000_000, "B", ".1f"), (1_000_000, "M", ".2f")):
        if count >= unit:
            return f"{count // unit}{letter}" if count % unit == 0 else f"{count / unit:{form}}{letter}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)
