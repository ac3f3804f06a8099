"""Table: a row is a conversation with a registry, step by step, and says what each reply must be; who does what else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.registry.serve.wire import Reply, Wire, located

CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
"""All that the spec knows."""


@dataclass(frozen=True)
class Step:
    """A request and its reply.

    What does not begin with / is below the row's own repository. In all texts `<repo>` is that, `<other>` a second one,
    `<tag>` a tag for the row,
    `<upload>` the last Location of an upload (`<upload?>` ready for a query), `<id>` its last word and `<first>` the first.
    """

    method: str
    path: str
    status: int
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    code: str = ""
    """The error's, which only a HEAD lacks."""
    gives: Mapping[str, str | None] = field(default_factory=dict[str, Any])
    """Headers: a value, `*` for any, None for none."""
    shows: Any = None
    """The body, to the byte or as JSON."""


@dataclass(frozen=True)
class Row:
    """A conversation."""

    name: str
    steps: tuple[Step, ...]

    @property
    def repository(self) -> str:
        return "rows/" + re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def row(name: str, *steps: Step | Iterable[Step]) -> Row:
    """One whose steps may come in bundles."""
    flat: list[Step] = []
    for one in steps:
        flat += [one] if isinstance(one, Step) else one
    return Row(name, tuple(flat))


def held(row: Row, host: str) -> str:
    """Hold the conversation with a registry: what is wrong with the first reply that is not as it must be, "" for nothing."""
    words = {"repo": row.repository, "other": f"{row.repository}/other", "tag": row.repository[5:]}
    with Wire(host) as wire:
        for number, step in enumerate(row.steps, 1):
            path = _filled(step.path, words)
            headers = {name: _filled(value, words) for name, value in step.headers.items()}
            target = path if path.startswith("/") else f"/v2/{row.repository}/{path}"
            reply = wire.ask(step.method, target, step.body, headers)
            if wrong := list(_wrong(step, reply, words)):
                return f"{number} {step.method}: {'; '.join(wrong)}"
            if "location" in reply.headers and reply.status in (202, 204, 416):
                upload = located(reply)
                words.setdefault("first", upload)
                words |= {"upload": upload, "upload?": upload + ("&" if "?" in upload else "?")}
                words["id"] = upload.partition("?")[0].rpartition("/")[2]
    return ""


def _wrong(step: Step, reply: Reply, words: Mapping[str, str]) -> Iterable[str]:
    if reply.status != step.status:
        yield f"{reply.status}, not {step.status}"
        return
    if step.code and step.method != "HEAD":
        yield from _wrong_error(step.code, reply)
    for name, value in step.gives.items():
        got, wanted = reply.headers.get(name.lower()), value and _filled(value, words)
        if name == "Content-Type" and got:
            got = got.partition(";")[0]
        if (got is None) != (wanted is None):
            yield f"{name} there" if wanted is None else f"no {name}"
        elif wanted not in (got, "*"):
            yield f"{name} {got}, not {wanted}"
    if isinstance(step.shows, bytes) and reply.body != step.shows:
        yield "another body"
    elif step.shows is not None and not isinstance(step.shows, bytes):
        wanted = json.loads(_filled(json.dumps(step.shows), words))
        if reply.json != wanted:
            yield "another body"


def _wrong_error(code: str, reply: Reply) -> Iterable[str]:
    if not reply.headers.get("content-type", "").startswith("application/json"):
        yield "no JSON"
        return
    errors: list[dict[str, Any]] = reply.json.get("errors") or [{}]
    got = errors[0].get("code")
    if got not in CODES:
        yield f"{got}, which is no code"
    elif got != code:
        yield f"{got}, not {code}"
    if not isinstance(errors[0].get("message"), str) or not errors[0].keys() <= {"code", "message", "detail"}:
        yield "another shape"


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"<([a-z]+\??)>", lambda found: words.get(found[1], found[0]), text)
