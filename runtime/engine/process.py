"""Worker: a worker process as the server sees it. Its death fails its own requests, with the cause, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable

import msgspec

from ...store.errors import BugError, FileError, MachineError, system_errors
from .protocol import (
    Cancel,
    Chunk,
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


class WorkerDiedError(MachineError):
    """The worker process ended while something was wanted of it."""


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
        self._waiting: dict[int, asyncio.Queue[Chunk | Finished | Failed | WorkerDiedError]] = {}
        self._errors: deque[str] = deque(maxlen=_KEPT_STDERR_LINES)
        self._loaded: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._refusal = ""
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
        self, prompt: str, *, sampling: Sampling, stop: list[str], num_predict: int, num_ctx: int, num_keep: int
    ) -> AsyncGenerator[Chunk | Finished]:
        """The answer as it comes, a Finished at the end. Leaving the iteration early cancels the request.

        Raises WorkerDiedError, RequestFailedError.
        """
        if self.is_dead:
            raise self._death()
        request_id = next(self._ids)
        replies = self._waiting[request_id] = asyncio.Queue()
        request = Generate(
            request_id, prompt, sampling, stop, num_predict=num_predict, num_ctx=num_ctx, num_keep=num_keep
        )
        finished = False
        try:
            self._writer.write(frame(request))
            while not finished:
                reply = await replies.get()
                match reply:
                    case Chunk():
                        yield reply
                    case Finished():
                        finished = True
                        yield reply
                    case Failed():
                        finished = True
                        raise RequestFailedError(f"model '{self._name}': {reply.error}")
                    case WorkerDiedError():
                        raise reply
        finally:
            del self._waiting[request_id]
            if not finished and not self.is_dead:
                self._writer.write(frame(Cancel(request_id)))

    async def close(self) -> None:
        """End the process, at once, and wait for that."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.gather(self._replies, self._stderr, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        garbled = ""
        try:
            while data := await reader.read(1 << 16):
                for body in frames.feed(data):
                    self._dispatch(decode_reply(body))
        except ConnectionError:
            pass  # it is dead, and how it died is known below
        except BugError as cause:  # its memory is not to be trusted any more
            garbled = str(cause)
            self._process.kill()
        await self._process.wait()
        await self._stderr
        if garbled:
            self._errors.append(garbled)
        self.is_dead = True
        death = self._death()
        if not self._loaded.done():
            self._loaded.set_exception(self._refused() if self._refusal else death)
        for replies in self._waiting.values():
            replies.put_nowait(death)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._errors.append(line.decode("utf-8", "replace").rstrip())

    def _dispatch(self, reply: Reply) -> None:
        match reply:
            case LoadProgress():
                self._on_progress(reply.fraction)
            case Loaded():
                if not self._loaded.done():
                    self._loaded.set_result(reply)
            case LoadFailed():
                self._refusal = reply.error  # the process ends now; its stderr, read to the end, may say more
            case Chunk() | Finished() | Failed():
                if replies := self._waiting.get(reply.id):
                    replies.put_nowait(reply)

    def _refused(self) -> ModelLoadError:
        reason = next((line for line in self._errors if "error" in line.lower()), self._refusal)
        return ModelLoadError(f"model '{self._name}' cannot be loaded: {reason}")

    def _death(self) -> WorkerDiedError:
        status = self._process.returncode or 0
        how = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        reason = f" ({self._errors[-1]})" if self._errors else ""
        return WorkerDiedError(
            f"model '{self._name}': the model runner has unexpectedly stopped: {how}{reason}",
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
