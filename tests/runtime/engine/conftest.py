"""Running the batching loop on a decoder, in one thread, so that every test repeats exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corral.runtime.engine.batch import BatchLoop
from corral.runtime.engine.decoder import Decoder
from corral.runtime.engine.protocol import Cancel, Chunk, Failed, Finished, Generate, Reply, Request, Sampling

GREEDY = Sampling(temperature=0)


def ask(
    number: int,
    prompt: str,
    *,
    stop: Sequence[str] = (),
    num_predict: int = -1,
    num_ctx: int = 1 << 20,
    num_keep: int = 4,
    sampling: Sampling = GREEDY,
) -> Generate:
    """A request."""
    return Generate(number, prompt, sampling, list(stop), num_predict=num_predict, num_ctx=num_ctx, num_keep=num_keep)


@dataclass
class Outcome:
    """What came of some requests, by their numbers."""

    texts: dict[int, str] = field(default_factory=lambda: defaultdict[int, str](str))
    finished: dict[int, Finished] = field(default_factory=dict[int, Finished])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    order: list[int] = field(default_factory=list[int])
    """Whose text came when."""


def run(
    decoder: Decoder,
    requests: Sequence[Generate],
    *,
    deterministic: bool = False,
    meanwhile: Callable[[Outcome], Sequence[Request]] = lambda _: (),
) -> Outcome:
    """Serve the requests until each is answered, has failed or was cancelled.

    `meanwhile` sees what has come so far after each step, and may send more.
    """
    outcome = Outcome()
    open_numbers = {request.id for request in requests}

    def send(replies: list[Reply]) -> None:
        for reply in replies:
            match reply:
                case Chunk():
                    outcome.texts[reply.id] += reply.text
                    outcome.order.append(reply.id)
                case Finished():
                    outcome.finished[reply.id] = reply
                    open_numbers.remove(reply.id)
                case Failed():
                    outcome.failed[reply.id] = reply.error
                    open_numbers.remove(reply.id)
                case _:
                    raise AssertionError(reply)
        for more in meanwhile(outcome):
            open_numbers.add(more.id) if isinstance(more, Generate) else open_numbers.discard(more.id)
            loop.submit(more)
        if not open_numbers:
            loop.submit(None)

    loop = BatchLoop(decoder, send, deterministic=deterministic)
    for request in requests:
        loop.submit(request)
    loop.run()
    return outcome


def once(request: Request, when: Callable[[Outcome], bool]) -> Callable[[Outcome], Sequence[Request]]:
    """Sends the request the first time that `when` holds."""
    sent: list[Request] = []

    def meanwhile(outcome: Outcome) -> Sequence[Request]:
        if sent or not when(outcome):
            return ()
        sent.append(request)
        return (request,)

    return meanwhile


def cancel(number: int, *, after: int) -> Callable[[Outcome], Sequence[Request]]:
    """Cancels a request when so many pieces of text have come, of any."""
    return once(Cancel(number), lambda outcome: len(outcome.order) >= after)
