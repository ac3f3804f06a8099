"""Hub choice: which of a Hugging Face repository's files make a model. Pure.

The rules are the Hub's and llama.cpp's (common/download.cpp, read at 0216dab): a tag is a quantisation or a file's name;
without one Q4_K_M is taken, else Q8_0, else the first model there is. In one thing we are stricter: a quantisation that
stands by itself comes before one that is the end of another word, so that F16 is not BF16.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..store.digest import Digest
from ..store.errors import InputError, shown

MAX_NAME = 1024
"""Bytes of a file's path in a repository."""
TEXTS = ("template", "system", "params")
"""Files in a repository's root that become layers."""

_DEFAULTS = ("Q4_K_M", "Q8_0")
_PROJECTOR = "mmproj"
_NO_MODELS = (_PROJECTOR, "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""What stands in the names of GGUFs that are something else: projectors, measurements, drafts."""
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)
_QUANTISATION = re.compile(r"[-.]([A-Z0-9_]+)\Z", re.IGNORECASE)
_BITS = re.compile(r"\d{1,3}")
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, as the Hub lists it; one of the two checksums is there."""

    path: str
    size: int
    sha256: Digest | None = None
    """Of files in LFS or Xet storage."""
    git_id: str = ""
    """The git blob's SHA-1 in hex; of files that are in git itself, it is the only checksum."""

    @property
    def short(self) -> str:
        """What a status line calls it."""
        return self.sha256.short if self.sha256 else self.git_id[:12]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model is made of."""

    weights: tuple[HubFile, ...]
    """The parts of a split file in order; mostly there is one."""
    projector: HubFile | None = None
    texts: dict[str, HubFile] = field(default_factory=dict[str, HubFile])
    """By their names: TEXTS."""


def is_sound(path: str) -> bool:
    """Whether this can be the path of a repository's file, and nothing but that."""
    parts = path.split("/")
    is_plain = path.isprintable() and "\\" not in path and len(path.encode(errors="replace")) <= MAX_NAME
    return is_plain and all(part not in ("", ".", "..") for part in parts) and not re.match(r"[A-Za-z]:", path)


def choose(files: Iterable[HubFile], tag: str, identity: str) -> Choice:
    """The files of the model that `tag` means; `latest` means none in particular. Raises InputError when there are none."""
    by_path = {file.path: file for file in sorted(files, key=lambda file: file.path)}
    ggufs = [file for file in by_path.values() if file.path.lower().endswith(".gguf")]
    chosen = _named(ggufs, tag) or _quantised(ggufs, tag)
    if chosen is None:
        raise _nothing(ggufs, tag, identity)
    texts = {name: by_path[name] for name in TEXTS if name in by_path}
    return Choice(_parts(chosen, by_path, identity), _projector(ggufs, chosen), texts)


def _named(ggufs: Sequence[HubFile], tag: str) -> HubFile | None:
    same = [file for file in ggufs if _filename(file).lower() == tag.lower()]
    return next((file for file in same if _filename(file) == tag), same[0] if same else None)


def _quantised(ggufs: Sequence[HubFile], tag: str) -> HubFile | None:
    models = [file for file in ggufs if _is_model(file)]
    is_any = tag.lower() == "latest"
    for wanted in _DEFAULTS if is_any else (tag,):
        for before in (r"(?<![A-Za-z0-9])", ""):
            pattern = re.compile(f"{before}{re.escape(wanted)}[.-]", re.IGNORECASE)
            if found := next((file for file in models if pattern.search(file.path)), None):
                return found
    return models[0] if models and is_any else None


def _is_model(file: HubFile) -> bool:
    part = _PART.fullmatch(file.path)
    return (not part or int(part["number"]) == 1) and not any(word in _filename(file).lower() for word in _NO_MODELS)


def _parts(chosen: HubFile, by_path: dict[str, HubFile], identity: str) -> tuple[HubFile, ...]:
    """The chosen file, or all those that it is one part of."""
    part = _PART.fullmatch(chosen.path)
    if not part:
        return (chosen,)
    found: dict[int, HubFile] = {}
    for path, file in by_path.items():
        other = _PART.fullmatch(path)
        if other and (other["stem"], other["count"]) == (part["stem"], part["count"]):
            found[int(other["number"])] = file
    count = int(part["count"])
    missing = next((number for number in range(1, count + 1) if number not in found), None)
    if missing is not None or len(found) != count:
        what = f"part {missing} of {count} is missing" if missing else f"there are {len(found)} parts of {count}"
        hint = "the model cannot be put together; choose another quantisation, or tell the repository's owner"
        raise InputError(f"{identity}: {shown(chosen.path)}: {what}", hint=hint)
    return tuple(found[number] for number in range(1, count + 1))


def _projector(ggufs: Sequence[HubFile], model: HubFile) -> HubFile | None:
    """The projector that goes with a model: from the nearest folder above, of the same quantisation, of the nearest width."""
    folders, label = model.path.split("/")[:-1], _label(model)
    fitting: list[tuple[int, bool, int, HubFile]] = []
    for file in ggufs:
        above = file.path.split("/")[:-1]
        if file is model or _PART.fullmatch(file.path) or _PROJECTOR not in _filename(file).lower():
            continue
        if folders[: len(above)] == above:
            difference = abs(_bits(_label(file)) - _bits(label))
            fitting.append((-len(above), not label or _label(file) != label, difference, file))
    return min(fitting, key=lambda one: one[:3])[3] if fitting else None


def _label(file: HubFile) -> str:
    part = _PART.fullmatch(file.path)
    found = _QUANTISATION.search(part["stem"] if part else file.path[: -len(".gguf")])
    return found[1].upper() if found else ""


def _bits(label: str) -> int:
    found = _BITS.search(label)
    return int(found[0]) if found else 0


def _filename(file: HubFile) -> str:
    return file.path.rpartition("/")[2]


def _nothing(ggufs: Sequence[HubFile], tag: str, identity: str) -> InputError:
    models = [_filename(file) for file in ggufs if _is_model(file)]
    if not models:
        hint = "the repository has to have files in the GGUF format; look for one with GGUF in its name"
        return InputError(f"{identity}: the repository has no GGUF of a model", hint=hint)
    listed = ", ".join(shown(name)[1:-1] for name in models[:_MOST_SHOWN])
    more = f" and {len(models) - _MOST_SHOWN} more" if len(models) > _MOST_SHOWN else ""
    return InputError(f"{identity}: no file of the repository fits {shown(tag)}", hint=f"it has {listed}{more}")
