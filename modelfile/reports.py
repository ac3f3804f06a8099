"""Reports: diagnostics for programs, as JSON, SARIF 2.1.0, or GitHub's workflow commands. Pure.

SARIF: OASIS "Static Analysis Results Interchange Format". GitHub: "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .rules import RULES, Diagnostic
from .source import Source

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was found in one file, in the order of the text."""

    source: Source
    diagnostics: Sequence[Diagnostic]

    def places(self) -> Iterable[tuple[Diagnostic, dict[str, int]]]:
        """Each diagnostic with where it begins and ends; lines and columns from 1, the end column is the one after."""
        for found in self.diagnostics:
            line, column = self.source.position(found.span.start)
            end_line, end_column = self.source.position(max(found.span.end, found.span.start))
            yield (
                found,
                {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column},
            )


def to_json(reports: Iterable[FileReport]) -> list[dict[str, Any]]:
    """One object per diagnostic."""
    return [
        {
            "file": report.source.filename,
            "code": found.code,
            "severity": found.severity,
            "message": found.message,
            "hint": found.hint,
            "detail": list(found.detail),
            **place,
        }
        for report in reports
        for found, place in report.places()
    ]


def to_sarif(reports: Iterable[FileReport], version: str) -> dict[str, Any]:
    """A SARIF log with one run; columns count Unicode code points."""
    rules = list(RULES.values())
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "columnKind": "unicodeCodePoints",
                "tool": {
                    "driver": {
                        "name": "corral lint",
                        "version": version,
                        "rules": [
                            {
                                "id": rule.code,
                                "shortDescription": {"text": rule.title},
                                "defaultConfiguration": {"level": rule.severity},
                            }
                            for rule in rules
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": found.code,
                        "ruleIndex": rules.index(found.rule),
                        "level": found.severity,
                        "message": {"text": found.message + (f" ({found.hint})" if found.hint else "")},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": _uri(report.source.filename)},
                                    "region": place,
                                }
                            }
                        ],
                    }
                    for report in reports
                    for found, place in report.places()
                ],
            }
        ],
    }


def to_github(reports: Iterable[FileReport]) -> list[str]:
    """A workflow command per diagnostic: `::error file=…,line=…,col=…,endLine=…,endColumn=…,title=…::message`.

    GitHub takes columns only where a diagnostic stays on one line.
    """
    lines: list[str] = []
    for report in reports:
        for found, place in report.places():
            properties: dict[str, object] = {"file": report.source.filename, "line": place["startLine"]}
            if place["startLine"] == place["endLine"]:
                properties |= {
                    "col": place["startColumn"],
                    "endLine": place["endLine"],
                    "endColumn": place["endColumn"],
                }
            else:
                properties["endLine"] = place["endLine"]
            properties["title"] = f"{found.code} {found.rule.title}"
            said = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
            command = "notice" if found.severity == "note" else found.severity
            lines.append(f"::{command} {said}::{_data(found.message + (f' ({found.hint})' if found.hint else ''))}")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _uri(path: str) -> str:
    """A relative or absolute path as a URI reference."""
    from urllib.parse import quote

    return quote(path.removeprefix("./"), safe="/~")
