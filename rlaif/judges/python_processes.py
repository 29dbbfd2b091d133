"""The processes in which a user's judge function runs.

Invariant: a process has one question at a time. One that hangs, dies or answers anything but a line of JSON is killed
with its process group, and the next question gets a new one; all of them end with the judge, whatever they started.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from rlaif.errors import WorkError
from rlaif.inference.completions import Failure
from rlaif.inference.per_loop import PerLoop
from rlaif.judges import python_worker
from rlaif.judges.own_answer import LARGEST_ANSWER, OwnRequest, judgment_of, read_answer
from rlaif.judges.own_judge import OwnReply, one_line
from rlaif.judges.python_judge import PythonSpec

_LONGEST_LINE = 2 * LARGEST_ANSWER
_MOMENT = 0.01
"""Seconds between two looks at whether a process has ended."""
_LONGEST_END = 5.0
"""Most seconds in which a killed process is waited for."""


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process, and the socket that is its standard input and output."""

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def kill(self) -> None:
        """Kill the process with its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def ended(self, seconds: float) -> int | None:
        """Return how the process ended, as `Popen.returncode`, or None if it has not after some seconds.

        Not by the end of its output: a process that it started may hold that.
        """
        latest = time.monotonic() + seconds
        while (code := self.process.poll()) is None and time.monotonic() < latest:
            await asyncio.sleep(_MOMENT)
        return code


class _Workers:
    """The processes of one event loop."""

    def __init__(self, most: int) -> None:
        self.slots = asyncio.Semaphore(most)
        self.running: list[_Worker] = []
        self.idle: list[_Worker] = []

    def drop(self) -> None:
        """Kill all, without their event loop."""
        for worker in self.running:
            worker.kill()
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(_LONGEST_END)
        self.running.clear()
        self.idle.clear()


class PythonProcesses:
    """Asks the function of a spec; see `Asker`."""

    def __init__(self, spec: PythonSpec) -> None:
        self._spec = spec
        self._workers = PerLoop(lambda: _Workers(spec.processes), owner=f"judge {spec.name}", drop=_Workers.drop)

    async def ask(self, request: OwnRequest) -> OwnReply:
        """See `Asker`; raises WorkError if the file cannot be loaded, which no other question would change."""
        async with self._workers.get().slots:
            # Asked for again: the judge may have been closed while the question waited.
            workers = self._workers.get()
            worker = workers.idle.pop() if workers.idle else await self._start(workers)
            started = time.monotonic()
            reply = await self._exchange(workers, worker, asdict(request), self._spec.timeout)
            seconds = time.monotonic() - started
            if worker in workers.running:
                workers.idle.append(worker)
        if isinstance(reply, str):
            return OwnReply(None, seconds, Failure("server", reply, may_pass=True))
        try:
            if "answer" not in reply:
                raise ValueError(f"the process answered with the keys {sorted(reply)}")
            read_answer(reply["answer"], len(request.candidates))
        except ValueError as error:
            return OwnReply(None, seconds, Failure("answer", f"{self._spec.function} returned no judgment: {error}"))
        return OwnReply(judgment_of(reply["answer"]), seconds)

    async def close(self) -> None:
        """Kill all processes; none is started any more."""
        if (workers := self._workers.close()) is not None:
            for worker in list(workers.running):
                await self._kill(workers, worker)

    async def _start(self, workers: _Workers) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                # -P: the worker's own folder holds modules of ours, which are not to be imported by the user's names.
                [sys.executable, "-P", python_worker.__file__],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                # A group of its own: Ctrl-C is for us, and what it starts is killed with it.
                start_new_session=True,
            )
        worker = _Worker(process, *await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE))
        workers.running.append(worker)
        spec = self._spec
        setting = {
            "path": str(spec.python_file),
            "source": spec.source,
            "function": spec.function,
            "largest": LARGEST_ANSWER,
        }
        loaded = await self._exchange(workers, worker, setting, spec.load_timeout)
        if isinstance(loaded, str):
            await self._kill(workers, worker)
            raise WorkError(f"{spec.python_file} cannot be loaded: {one_line(loaded)}")
        return worker

    async def _exchange(
        self, workers: _Workers, worker: _Worker, message: Mapping[str, Any], timeout: float
    ) -> dict[str, Any] | str:
        """Send a message and return the answer to it, or why there is none; a process that fails to answer is killed.

        Also where the caller is cancelled: a process that still works on a question must not get the next one.
        """
        try:
            async with asyncio.timeout(timeout):
                with suppress(ConnectionError):
                    worker.writer.write(json.dumps(message).encode() + b"\n")
                    await worker.writer.drain()
                line = b""
                with suppress(ConnectionError):
                    line = await worker.reader.readline()
                answer = dict(json.loads(line)) if line.endswith(b"\n") else None
        except TimeoutError:
            await self._kill(workers, worker)
            return f"no answer in {timeout:g} seconds"
        except (ValueError, TypeError, RecursionError):
            await self._kill(workers, worker)
            return "the process answered what is no answer"
        except BaseException:
            await self._kill(workers, worker)
            raise
        if answer is None:
            return f"the process ended: {await self._kill(workers, worker)}"
        return str(answer["failure"]) if "failure" in answer else answer

    async def _kill(self, workers: _Workers, worker: _Worker) -> str:
        """End a process with its group, and return how it had ended, or was ended."""
        if worker in workers.running:
            workers.running.remove(worker)
        if worker.reader.at_eof():
            # Its last line is read before its end is known.
            await worker.ended(1.0)
        worker.kill()
        worker.writer.transport.abort()
        code = await worker.ended(_LONGEST_END)
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"
