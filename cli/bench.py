"""`corral bench`: how fast a model answers here, alone and in company, by way of a running server or a private one."""

from __future__ import annotations

from typing import Annotated, Any

import psutil
import typer

from ..store.name import Name
from . import console
from .client import Client, Processes
from .options import Insecure
from .run import is_path, make_present, server_for
from .settings import Settings
from .speed import Level, Speedometer, doubling
from .units import human_bytes

_USUAL_CONTEXT = 4096
"""Tokens; for no more than these a loaded model is not asked for another context, and so not loaded anew."""
_WORKER = "corral.runtime.engine.worker"


def command(
    model: Annotated[str, typer.Argument(help="The model, pulled when absent; or a GGUF file.")],
    *,
    tokens: Annotated[int, typer.Option("--tokens", min=2, max=1 << 16, help="Tokens of each answer.")] = 64,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", min=1, max=1 << 20, help="Tokens of each prompt, about.")
    ] = 256,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=256, help="Most answers at once.")] = 4,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Measure a model's speed, its time to the first token, and its memory."""
    settings = Settings.from_environment()
    # It counts for a private server only: one that runs keeps the slots that it has.
    settings = settings.with_options(num_parallel=max(parallel, settings.count("NUM_PARALLEL", 1)))
    file = model if is_path(model) else None
    if file is None:
        Name.parse(model)
    size = prompt_tokens * 5 // 4 + tokens
    num_ctx = size if size > _USUAL_CONTEXT else 0
    with server_for(settings, file) as client:
        if file is None:
            make_present(client, settings, model, insecure=insecure)
        meter = Speedometer(client, model, prompt_tokens=prompt_tokens, tokens=tokens, num_ctx=num_ctx)
        meter.warm_up()
        levels = list(meter.levels(doubling(parallel)))
        taken = _memory(client, model)
    if as_json:
        sizes = {"model": model, "prompt_tokens": prompt_tokens, "tokens": tokens}
        console.out_json({**sizes, "levels": [level.to_json() for level in levels], "memory": taken})
        return
    console.table(["STREAMS", "TOKENS/S", "TTFT P50", "TTFT P95", "PREFILL/S", "DECODE/S"], [_row(at) for at in levels])
    console.out()
    console.out(f"answers of {tokens} tokens to prompts of {prompt_tokens}; TOKENS/S is of all streams together")
    if taken["size"]:
        resident = f", {human_bytes(taken['resident'])} resident" if taken["resident"] else ""
        console.out(f"{human_bytes(taken['size'])} of memory, {human_bytes(taken['size_vram'])} on GPUs{resident}")


def _row(level: Level) -> list[str]:
    return [
        str(level.streams),
        f"{level.throughput:.1f}",
        f"{level.wait_p50:.3f} s",
        f"{level.wait_p95:.3f} s",
        f"{level.prefill:.0f}",
        f"{level.decode:.1f}",
    ]


def _memory(client: Client, model: str) -> dict[str, Any]:
    """Bytes by the server's word, and what the worker's pages take where it is this process's own."""
    entries = client.get("/api/ps", Processes)["models"]
    # A file is the one model of a private server, whatever it is called there.
    named = entries if is_path(model) else [entry for entry in entries if entry["name"] == str(Name.parse(model))]
    sizes = {key: named[0][key] if named else 0 for key in ("size", "size_vram")}
    workers = [child for child in psutil.Process().children() if _WORKER in child.cmdline()]
    resident = sum(worker.memory_info().rss for worker in workers)
    return {**sizes, "resident": resident or None}
