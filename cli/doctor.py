"""`corral doctor`: the engine, the machine, the store and the settings, what is slow or wrong with them, and the cure."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.errors import BugError, InputError, IntegrityError, MachineError, RemoteError
from . import console
from .checkup import checkup
from .settings import Settings
from .units import counted

_WORST_FIRST = (MachineError, IntegrityError, RemoteError, InputError, BugError)


def command(*, as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False) -> None:
    """Look for what is slow or wrong. The exit code is 5 when the engine is missing or broken, 0 when nothing is wrong."""
    findings = list(checkup(Settings.from_environment()))
    if as_json:
        console.out_json({"findings": [finding.to_json() for finding in findings]})
    else:
        rows = [[finding.check, finding.state, console.clean(finding.found)] for finding in findings]
        console.table(["CHECK", "STATE", "FOUND"], rows)
        console.out()
        for finding in findings:
            if finding.cure:
                console.out(console.clean(f"for the {finding.check}: {finding.cure}"))
    wrong = [finding for finding in findings if finding.fault]
    for kind in _WORST_FIRST:
        if worst := next((finding for finding in wrong if finding.fault is kind), None):
            raise kind(f"{counted(len(wrong), 'thing')} to put right, first of all the {worst.check}")
