"""Prints docs/parameters.md from the table of parameters: `python tools/parameters_page.py > docs/parameters.md`."""

from __future__ import annotations

from corral.modelfile.parameters import PARAMETERS, ParameterSpec

HEAD = """\
# Parameters

What `PARAMETER` sets in a Modelfile, and `options` in the API. Ollama checks types and no ranges; values outside the
range are accepted with a warning (`corral lint`, [MF038](diagnostics.md)). A change of a *load* parameter loads the
model anew.

| name | type | default | makes sense | when | meaning | source |
|---|---|---|---|---|---|---|
"""
DEPRECATED = "\nDeprecated, accepted without effect ([MF039](diagnostics.md)): {}.\n"


def row(spec: ParameterSpec) -> str:
    """A parameter as a line of the table."""
    default = "chosen" if spec.default is None and spec.kind != "strings" else spec.default
    cells = (f"`{spec.name}`", spec.kind, default, spec.range_text or "all", spec.when, spec.meaning, spec.source)
    return "| " + " | ".join("none" if cell is None else str(cell) for cell in cells) + " |\n"


def page() -> str:
    """The whole page."""
    specs = PARAMETERS.values()
    old = ", ".join(f"`{spec.name}`" for spec in specs if spec.is_deprecated)
    return HEAD + "".join(row(spec) for spec in specs if not spec.is_deprecated) + DEPRECATED.format(old)


if __name__ == "__main__":
    print(page(), end="")
