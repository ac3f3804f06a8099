"""Worker: a worker process as the server sees it. Its death fails its own requests, with the cause, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from ...store.errors import BugError, FileError, MachineError, system_errors
from .protocol import (
    Cancel,
    Chunk,
    Count,
    Counted,
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

_KEPT_STDERR_LINES = 20
_KEPT_STDERR_LINE = 500
"""Bytes; a name in a hostile file may make a line of any length."""
_SOURCE_FOLDER = re.compile(r"^/[^:]*/(?=[^/:]+:\d+: )")
"""Where the engine was built, before the file and line of a failed assertion."""


class WorkerDiedError(MachineError):
    """The worker process ended while something was wanted of it."""


class UnreadRequestError(WorkerDiedError):
    """The worker process ended before it had read the request."""


class StoppingError(MachineError):
    """The server is ending its workers."""

    def __init__(self) -> None:
        super().__init__("server is shutting down")


class ModelLoadError(MachineError):
    """The engine refused the model."""


class RequestFailedError(MachineError):
    """The engine refused one request."""


class Worker:
    """One loaded model in a process of its own; the process is a direct child and ends with the server's socket."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_progress: Callable[[float], None],
    ) -> None:
        self._name = name
        self._process = process
        self._writer = writer
        self._on_progress = on_progress
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Chunk | Finished | Counted | Failed | None]] = {}
        """The replies to each request; None when the process is dead."""
        self._errors: deque[str] = deque(maxlen=_KEPT_STDERR_LINES)
        self._loaded: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._refusal: LoadFailed | None = None
        self._is_closing = False
        self._is_unread = False
        self._stderr = asyncio.create_task(self._read_errors())
        self._replies = asyncio.create_task(self._read(reader))
        self.is_dead = False
        self.loaded: Loaded

    @classmethod
    async def start(
        cls, name: str, path: str, options: LoadOptions, on_progress: Callable[[float], None] = lambda _: None
    ) -> Worker:
        """Start a process that loads the model, and wait until it has. Errors call it `name`.

        Raises ModelLoadError with the engine's reason, WorkerDiedError with the process's end, FileError without Python.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await _spawn(theirs.fileno(), Load(path, options))
            except BaseException:
                writer.close()
                raise
        worker = cls(name, process, reader, writer, on_progress)
        try:
            worker.loaded = await asyncio.shield(worker._loaded)
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
        shifts: bool = False,
        name: str = "",
    ) -> AsyncGenerator[Chunk | Finished]:
        """The answer as it comes, a Finished at the end. Leaving the iteration early cancels the request.

        Errors call the model `name`, or else what it was started as. Raises UnreadRequestError, WorkerDiedError,
        StoppingError, RequestFailedError.
        """
        request = Generate(
            next(self._ids),
            prompt,
            sampling,
            stop,
            num_predict=num_predict,
            num_ctx=num_ctx,
            num_keep=num_keep,
            shifts=shifts,
        )
        async with aclosing(self._replies_to(request, name or self._name)) as replies:
            async for reply in replies:
                if not isinstance(reply, Counted):
                    yield reply

    async def count(self, text: str, *, name: str = "") -> int:
        """The tokens of a prompt, those included that the model puts around it. Nobody's answer waits for that.

        Raises what `generate` raises.
        """
        async with aclosing(self._replies_to(Count(next(self._ids), text), name or self._name)) as replies:
            async for reply in replies:
                if isinstance(reply, Counted):
                    return reply.tokens
        raise AssertionError("replies end with what was asked for")

    async def _replies_to(self, request: Generate | Count, name: str) -> AsyncGenerator[Chunk | Finished | Counted]:
        """The replies up to the last; leaving the iteration early cancels the request."""
        if self.is_dead:
            self._is_unread = True
            raise self._death(name)
        replies = self._waiting[request.id] = asyncio.Queue()
        finished = False
        try:
            self._writer.write(frame(request))
            if self._writer.transport.is_closing():  # its end of the socket is closed, though it is not reaped yet
                self._is_unread = True
            while not finished:
                reply = await replies.get()
                match reply:
                    case Chunk():
                        yield reply
                    case Finished() | Counted():
                        finished = True
                        yield reply
                    case Failed():
                        finished = True
                        raise RequestFailedError(f"model '{name}': {reply.error}")
                    case None:
                        raise self._death(name)
        finally:
            del self._waiting[request.id]
            if not finished and not self.is_dead:
                self._writer.write(frame(Cancel(request.id)))

    async def close(self) -> None:
        """End the process, at once, and wait for that. Its requests fail with a StoppingError."""
        self._is_closing = not self.is_dead
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.gather(self._replies, self._stderr, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            garbled = await self._take_replies(reader)
            await self._process.wait()
            await self._stderr
            if garbled:
                self._errors.append(garbled)
        finally:  # whatever happens, nobody waits for ever
            self.is_dead = True
            if not self._loaded.done():
                self._loaded.set_exception(self._refused(self._refusal) if self._refusal else self._death(self._name))
            for replies in self._waiting.values():
                replies.put_nowait(None)

    async def _take_replies(self, reader: asyncio.StreamReader) -> str:
        """Hand out what comes until the process ends; what is wrong with its frames, if that was why."""
        frames = Frames()
        try:
            while data := await reader.read(1 << 16):
                for body in frames.feed(data):
                    self._dispatch(decode_reply(body))
        except ConnectionError:  # it is dead; how it died its status says
            self._is_unread = True
        except BugError as cause:  # its memory is not to be trusted any more
            self._process.kill()
            return str(cause)
        return ""

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_KEPT_STDERR_LINE]
            self._keep_errors(lines)
        self._keep_errors([rest])

    def _keep_errors(self, lines: list[bytes]) -> None:
        texts = (line[:_KEPT_STDERR_LINE].decode("utf-8", "replace").rstrip() for line in lines)
        self._errors.extend(_SOURCE_FOLDER.sub("", text) for text in texts if text)

    def _dispatch(self, reply: Reply) -> None:
        match reply:
            case LoadProgress():
                self._on_progress(reply.fraction)
            case Loaded():
                if not self._loaded.done():
                    self._loaded.set_result(reply)
            case LoadFailed():
                self._refusal = reply  # the process ends now; its stderr, read to the end, may say more
            case Chunk() | Finished() | Counted() | Failed():
                if replies := self._waiting.get(reply.id):
                    replies.put_nowait(reply)

    def _refused(self, refusal: LoadFailed) -> ModelLoadError:
        reason = next((line for line in self._errors if "error" in line.lower()), refusal.error)
        return ModelLoadError(f"model '{self._name}' cannot be loaded: {reason}", hint=refusal.hint)

    def _death(self, name: str) -> WorkerDiedError | StoppingError:
        if self._is_closing:
            return StoppingError()
        status = self._process.returncode or 0
        how = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        reason = f" ({self._errors[-1]})" if self._errors else ""
        kind = UnreadRequestError if self._is_unread else WorkerDiedError
        return kind(
            f"model '{name}': the model runner has unexpectedly stopped: {how}{reason}",
            hint="ask again: the model is loaded anew for the next request",
        )


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
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
