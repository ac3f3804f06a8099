"""Worker: a worker process as the server sees it. Its death fails its own requests, with the cause, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias, TypeVar

import msgspec

from ...store.errors import BugError, FileError, InputError, MachineError, system_errors
from . import build
from .lastwords import LastWords
from .protocol import (
    Beat,
    Cancel,
    Chunk,
    Count,
    Counted,
    Embed,
    Embedded,
    Failed,
    Finished,
    Frames,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    LoadOptions,
    LoadProgress,
    Reply,
    Sampling,
    decode_reply,
    frame,
)
from .watch import Watch
from .worker import FAKE_PREFIX, VARIABLES

LOAD_TIMEOUT = 300.0
SILENCE = 60.0
_TEXTS = 256
"""Texts in one Embed, so that its vectors are far from filling a frame."""
_BURIAL = 30.0
"""Seconds a killed process may take to end; one that waits for a dead disk never does."""

_Answer: TypeAlias = Chunk | Finished | Embedded | Counted
_One = TypeVar("_One", Embedded, Counted)


class WorkerDiedError(MachineError):
    """The worker process ended while something was wanted of it."""


class UnreadRequestError(WorkerDiedError):
    """The worker process ended before it had read the request."""


class StoppingError(MachineError):
    """The server is ending its workers."""

    def __init__(self) -> None:
        super().__init__("server is shutting down")


class ModelLoadError(MachineError):
    """The engine refused the model, or did not load it in time."""


class RequestFailedError(MachineError):
    """The engine could not serve one request."""


class RequestRefusedError(InputError):
    """A request the engine cannot serve because of what it asks for."""


class Worker:
    """One loaded model in a process of its own; the process is a direct child and ends with the server's socket."""

    def __init__(
        self,
        name: str,
        path: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_progress: Callable[[float], None],
        watch: Watch,
    ) -> None:
        self._name = name
        self._process = process
        self._writer = writer
        self._on_progress = on_progress
        self._watch = watch
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[_Answer | Failed | None]] = {}
        """The replies to each request; None when the process is dead."""
        self._words = LastWords(path)
        self._loaded: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._refusal: LoadFailed | None = None
        self._fault = ""
        """Why it was killed from here."""
        self._is_closing = False
        self._is_unread = False
        assert process.stderr is not None
        self._stderr = asyncio.create_task(self._words.read(process.stderr))
        self._replies = asyncio.create_task(self._read(reader))
        self._watching = asyncio.create_task(self._end_when_silent())
        self.is_dead = False
        self.loaded: Loaded

    @classmethod
    async def start(
        cls,
        name: str,
        path: str,
        options: LoadOptions,
        on_progress: Callable[[float], None] = lambda _: None,
        *,
        load_timeout: float = LOAD_TIMEOUT,
        silence: float = SILENCE,
    ) -> Worker:
        """Start a process that loads the model, and wait until it has. Errors call it `name`.

        It is killed when its load has made no progress for `load_timeout` seconds (from 0 down: it has all time), or
        when nothing at all was heard of it for `silence` seconds while it loads or answers. Being cancelled ends it.

        Raises ModelLoadError with the engine's reason, WorkerDiedError with the process's end, FileError without Python.
        """
        if not path.startswith(FAKE_PREFIX):
            options = await _for_this_build(name, options)
        watch = Watch(silence=silence, stall=load_timeout if load_timeout > 0 else math.inf)
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await _spawn(theirs.fileno(), Load(path, options))
            except BaseException:
                writer.close()
                raise
        worker = cls(name, path, process, reader, writer, on_progress, watch)
        try:
            worker.loaded = await worker._load()
        except BaseException:
            worker._loaded.cancel()
            await worker.close()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        stop: list[str],
        num_predict: int,
        num_ctx: int,
        num_keep: int,
        before: Sequence[int] = (),
        shifts: bool = False,
        truncates: bool = True,
        logprobs: int = -1,
        wants_tokens: bool = False,
        shown: Sequence[str] = (),
        name: str = "",
    ) -> AsyncGenerator[Chunk | Finished]:
        """The answer as it comes, a Finished at the end. Leaving the iteration early cancels the request.

        Errors call the model `name`, or else what it was started as. Raises UnreadRequestError, WorkerDiedError,
        StoppingError, RequestFailedError, RequestRefusedError.
        """
        request = Generate(
            next(self._ids),
            prompt,
            sampling,
            stop,
            num_predict=num_predict,
            num_ctx=num_ctx,
            num_keep=num_keep,
            before=list(before),
            shifts=shifts,
            truncates=truncates,
            logprobs=logprobs,
            wants_tokens=wants_tokens,
            shown=list(shown),
        )
        async with aclosing(self._replies_to(request, name or self._name)) as replies:
            async for reply in replies:
                if isinstance(reply, Chunk | Finished):
                    yield reply

    async def embed(self, texts: Sequence[str], *, truncates: bool = True, name: str = "") -> Embedded:
        """The vectors of texts. Raises what `generate` raises; RequestRefusedError for a text that is too long."""
        vectors: list[bytes] = []
        tokens = truncated = 0
        for start in range(0, len(texts), _TEXTS):
            request = Embed(next(self._ids), list(texts[start : start + _TEXTS]), truncates=truncates)
            reply = await self._reply_to(request, name or self._name, Embedded)
            vectors += reply.vectors
            tokens += reply.tokens
            truncated += reply.truncated
        return Embedded(0, vectors, tokens, truncated)

    async def count(self, text: str, *, name: str = "") -> int:
        """The tokens of a prompt, those included that the model puts around it. Nobody's answer waits for that.

        Raises what `generate` raises.
        """
        return (await self._reply_to(Count(next(self._ids), text), name or self._name, Counted)).tokens

    async def _reply_to(self, request: Embed | Count, name: str, kind: type[_One]) -> _One:
        async with aclosing(self._replies_to(request, name)) as replies:
            async for reply in replies:
                if isinstance(reply, kind):
                    return reply
        raise AssertionError("replies end with what was asked for")

    async def _replies_to(self, request: Generate | Embed | Count, name: str) -> AsyncGenerator[_Answer]:
        """The replies up to the last; leaving the iteration early cancels the request."""
        if self.is_dead:
            self._is_unread = True
            raise self._death(name)
        data = frame(request)
        replies = self._waiting[request.id] = asyncio.Queue()
        finished = False
        try:
            self._writer.write(data)
            if self._writer.transport.is_closing():  # its end of the socket is closed, though it is not reaped yet
                self._is_unread = True
            while not finished:
                reply = await replies.get()
                match reply:
                    case Chunk():
                        yield reply
                    case Finished() | Embedded() | Counted():
                        finished = True
                        yield reply
                    case Failed():
                        finished = True
                        kind = RequestRefusedError if reply.is_input else RequestFailedError
                        raise kind(f"model '{name}': {reply.error}", hint=reply.hint)
                    case None:
                        raise self._death(name)
        finally:
            del self._waiting[request.id]
            if not finished and not self.is_dead:
                self._writer.write(frame(Cancel(request.id)))

    async def close(self) -> None:
        """End the process, at once, and wait for that. Its requests fail with a StoppingError."""
        self._is_closing = not self.is_dead
        self._watching.cancel()
        self._writer.close()
        self._kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BURIAL):
                await asyncio.gather(self._replies, self._stderr, self._watching, return_exceptions=True)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _load(self) -> Loaded:
        stalled = asyncio.create_task(self._watch.stalled())
        try:
            await asyncio.wait([self._loaded, stalled], return_when=asyncio.FIRST_COMPLETED)
            if not self._loaded.done():
                raise ModelLoadError(
                    f"model '{self._name}' cannot be loaded: {stalled.result()}",
                    hint="OLLAMA_LOAD_TIMEOUT gives it more time, e.g. 15m",
                )
            return self._loaded.result()
        finally:
            stalled.cancel()

    async def _end_when_silent(self) -> None:
        self._fault = await self._watch.silent(lambda: bool(self._waiting) or not self._loaded.done())
        self._kill()
        self._give_up()  # it may not end even now

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            await self._take_replies(reader)
            await self._process.wait()
            await self._stderr
        finally:  # whatever happens, nobody waits for ever
            self._watching.cancel()
            self._give_up()

    def _give_up(self) -> None:
        """Tell all who wait that it is dead."""
        if not self.is_dead:
            self.is_dead = True
            if not self._loaded.done():
                self._loaded.set_exception(self._refused(self._refusal) if self._refusal else self._death(self._name))
            for replies in self._waiting.values():
                replies.put_nowait(None)

    async def _take_replies(self, reader: asyncio.StreamReader) -> None:
        """Hand out what comes until the process ends."""
        frames = Frames()
        try:
            while data := await reader.read(1 << 16):
                self._watch.heard()
                for body in frames.feed(data):
                    self._dispatch(decode_reply(body))
        except ConnectionError:  # it is dead; how it died its status says
            self._is_unread = True
        except BugError as cause:  # its memory is not to be trusted any more
            self._fault = str(cause)
            self._kill()

    def _dispatch(self, reply: Reply) -> None:
        match reply:
            case Beat():
                pass
            case LoadProgress():
                self._watch.progressed()
                self._on_progress(reply.fraction)
            case Loaded():
                if not self._loaded.done():
                    self._loaded.set_result(reply)
            case LoadFailed():
                self._refusal = reply  # the process ends now; its stderr, read to the end, may say more
            case Chunk() | Finished() | Embedded() | Counted() | Failed():
                if replies := self._waiting.get(reply.id):
                    replies.put_nowait(reply)

    def _refused(self, refusal: LoadFailed) -> ModelLoadError:
        reason = self._words.complaint or refusal.error
        return ModelLoadError(f"model '{self._name}' cannot be loaded: {reason}", hint=refusal.hint)

    def _death(self, name: str) -> WorkerDiedError | StoppingError:
        if self._is_closing:
            return StoppingError()
        status = -signal.SIGKILL if self._fault else self._process.returncode or 0
        how = f"signal: {build.signal_name(-status)}" if status < 0 else f"exit status {status}"
        reason = self._fault or self._words.last
        if status == -signal.SIGKILL and not self._fault:  # it had no time to say why; the kernel writes its own log
            reason = "memory may have run out"
        kind = UnreadRequestError if self._is_unread and not self._fault else WorkerDiedError
        return kind(
            f"model '{name}': the model runner has unexpectedly stopped: {how}{f' ({reason})' if reason else ''}",
            hint="ask again: the model is loaded anew for the next request",
        )


async def _for_this_build(name: str, options: LoadOptions) -> LoadOptions:
    """The options as the installed engine bears them; at its first use that is tried out."""
    try:
        found = await asyncio.to_thread(build.probe)
    except MachineError as error:
        raise ModelLoadError(f"model '{name}' cannot be loaded: {error}", hint=error.hint) from None
    return options if found.use_extra_buffers else msgspec.structs.replace(options, use_extra_buffers=False)


async def _spawn(descriptor: int, load: Load) -> asyncio.subprocess.Process:
    with system_errors(sys.executable, "start a model runner", FileError):
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__.rpartition(".")[0] + ".worker",
            str(descriptor),
            msgspec.json.encode(load).decode(),
            pass_fds=[descriptor],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the server's terminal is the server's to handle
            env=VARIABLES | os.environ,
        )
