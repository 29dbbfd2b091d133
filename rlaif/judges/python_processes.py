"""The processes in which a user's judge function runs.

Invariant: a process has one question at a time. One that hangs, dies or answers anything but a line of JSON is killed
with all that it started, and the next question gets a new one; all of them end with the judge.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from rlaif.errors import WorkError
from rlaif.judges import python_worker
from rlaif.judges.own_answer import LARGEST_ANSWER, OwnRequest, read_answer
from rlaif.judges.own_judge import OwnReply, one_line
from rlaif.judges.python_judge import PythonSpec

_LONGEST_LINE = 2 * LARGEST_ANSWER


class PythonProcesses:
    """Asks the function of a spec; see `Asker`."""

    def __init__(self, spec: PythonSpec) -> None:
        self._spec = spec
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(spec.processes)
        self._running: set[asyncio.subprocess.Process] = set()
        self._idle: list[asyncio.subprocess.Process] = []

    async def ask(self, request: OwnRequest) -> OwnReply:
        """See `Asker`; raises WorkError if the file cannot be loaded, which no other question would change."""
        self._bind()
        async with self._slots:
            process = self._idle.pop() if self._idle else await self._start()
            started = time.monotonic()
            reply = await self._exchange(process, asdict(request), self._spec.timeout)
            seconds = time.monotonic() - started
            if process in self._running:
                self._idle.append(process)
        if isinstance(reply, str):
            return OwnReply(None, seconds, reply)
        try:
            read_answer(reply["answer"], len(request.candidates))
        except ValueError as error:
            return OwnReply(None, seconds, f"{self._spec.function} returned no judgment: {error}")
        return OwnReply(reply["answer"], seconds)

    async def close(self) -> None:
        """Kill all processes."""
        for process in list(self._running):
            await self._kill(process)
        self._idle.clear()

    def _bind(self) -> None:
        # Processes and semaphores belong to the event loop in which they were first used.
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._slots = loop, asyncio.Semaphore(self._spec.processes)
            self._running, self._idle = set(), []

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # The worker's own folder holds modules of ours, which are not to be imported by the user's names.
            python_worker.__file__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LONGEST_LINE,
            # A group of its own: Ctrl-C is for us, and what it starts is killed with it.
            start_new_session=True,
        )
        self._running.add(process)
        spec = self._spec
        setting = {
            "path": str(spec.python_file),
            "source": spec.source,
            "function": spec.function,
            "largest": LARGEST_ANSWER,
        }
        loaded = await self._exchange(process, setting, spec.load_timeout)
        if isinstance(loaded, str):
            await self._kill(process)
            raise WorkError(f"{spec.python_file} cannot be loaded: {one_line(loaded)}")
        return process

    async def _exchange(
        self, process: asyncio.subprocess.Process, message: Mapping[str, Any], timeout: float
    ) -> dict[str, Any] | str:
        """Send a message and return the answer to it, or why there is none; a process that fails to answer is killed.

        Also where the caller is cancelled: a process that still works on a question must not get the next one.
        """
        try:
            async with asyncio.timeout(timeout):
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(ConnectionError):
                    process.stdin.write(json.dumps(message).encode() + b"\n")
                    await process.stdin.drain()
                line = await process.stdout.readline()
                answer = dict(json.loads(line)) if line.endswith(b"\n") else None
        except TimeoutError:
            await self._kill(process)
            return f"no answer in {timeout:g} seconds"
        except (ValueError, TypeError):
            await self._kill(process)
            return "the process answered what is no answer"
        except BaseException:
            await self._kill(process)
            raise
        if answer is None:
            return f"the process ended: {await self._kill(process)}"
        return str(answer["failure"]) if "failure" in answer else answer

    async def _kill(self, process: asyncio.subprocess.Process) -> str:
        """End a process with all that it started, and return how it had ended, or was ended."""
        self._running.discard(process)
        if process.stdout is not None and process.stdout.at_eof():
            with suppress(TimeoutError):
                # Its last line is read before its end is known.
                await asyncio.wait_for(process.wait(), 1.0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = await process.wait()
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"
