"""Reads documents in a process of its own, so that one that crashes, hangs or fills the memory costs no other.

Invariant: each document is returned or raises `UserError` with one fault within its limits of time and memory. The
process is started when it is needed, reads many documents, and is replaced after one that ended or outlasted it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rlaif.documents.document import Document
from rlaif.documents.document_json import from_json
from rlaif.documents.limits import Limits
from rlaif.errors import Fault, UserError, WorkError

_DOCUMENTS = 500
"""Documents after which a process is replaced: what a parser loses of its memory stays small."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables of the environment that the process gets: none that may hold a key."""
_START = 60.0
"""Seconds in which a process is ready."""
_MORE = 16
"""Bytes of an answer for each character that a document may have, at most."""


class _Late(Exception):
    """The process has not answered in time."""


class _Ended(Exception):
    """The process has ended, or answered what is no answer."""


class ReaderProcess:
    """A process that reads documents, one at a time; it may be used from several threads."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._lock = threading.Lock()

    def read(self, source: bytes | str | Path, name: str = "") -> Document:
        """Return the document of bytes or of a file; see `rlaif.documents.reading.read_document`."""
        path = name if isinstance(source, bytes) else str(source)
        with self._lock:
            answer = self._ask(source, name, path)
        if answer.startswith(b'{"problem"'):
            raise UserError(Fault(path, **json.loads(answer)))
        try:
            return from_json(answer)
        except (ValueError, TypeError, KeyError):
            raise UserError(Fault(path, "the process that reads it answered what is no document")) from None

    def close(self) -> None:
        """End the process; the next document starts another."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5.0)

    def __enter__(self) -> "ReaderProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, source: bytes | str | Path, name: str, path: str) -> bytes:
        request: dict[str, object] = {"name": name, "limits": asdict(self._limits)}
        data = b""
        if isinstance(source, bytes):
            data = source
            request["size"] = len(source)
        else:
            request["path"] = os.path.abspath(source)
        if self._read >= _DOCUMENTS:
            self.close()
        try:
            process = self._running()
            deadline = time.monotonic() + self._limits.seconds
            _send(process, json.dumps(request).encode() + b"\n" + data, deadline)
            return _receive(process, _MORE * self._limits.characters, deadline)
        except _Late:
            self.close()
            raise UserError(Fault(path, f"takes more than {self._limits.seconds:g} seconds to read")) from None
        except _Ended:
            self.close()
            raise UserError(Fault(path, "ends the process that reads it: the file may be damaged")) from None
        except BaseException:
            # Such as Ctrl-C: its answer must not be taken for that of the next document.
            self.close()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started and ready."""
        if self._process is None:
            root = str(Path(__file__).parents[2])
            environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rlaif.documents.reader_worker", str(self._limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environment, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
                # A group of its own: Ctrl-C is for us.
                start_new_session=True,
            )
            self._read = 0
            try:
                _receive(self._process, 0, time.monotonic() + _START)
            except (_Late, _Ended):
                self.close()
                raise WorkError(
                    f"the process that reads documents does not start in {_START:g} seconds and "
                    f"{self._limits.memory >> 20:,} MiB of memory"
                ) from None
        self._read += 1
        return self._process


def _send(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    """Write to a process; raises _Late or _Ended if it does not take all."""
    assert process.stdin is not None
    into = process.stdin.fileno()
    os.set_blocking(into, False)
    left = memoryview(data)
    while left:
        if not select.select([], [into], [], max(0.0, deadline - time.monotonic()))[1]:
            raise _Late
        try:
            left = left[os.write(into, left[: 1 << 16]) :]
        except BlockingIOError:
            continue
        except OSError:
            raise _Ended from None


def _receive(process: subprocess.Popen[bytes], most: int, deadline: float) -> bytes:
    """Return what a process answers; raises _Late or _Ended if that is nothing, or more bytes than `most`."""
    assert process.stdout is not None
    out = process.stdout.fileno()
    received = bytearray()
    expected: int | None = None
    while expected is None or len(received) < expected:
        if not select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise _Late
        piece = os.read(out, 1 << 20)
        if not piece:
            raise _Ended
        received += piece
        if expected is None and b"\n" in received:
            line, _, rest = bytes(received).partition(b"\n")
            if not line.isdigit() or int(line) > most:
                raise _Ended
            expected, received = int(line), bytearray(rest)
    return bytes(received)
