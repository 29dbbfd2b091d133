"""Many documents, read at once: in Ray's processes where Ray runs, else in some processes of this machine.

Invariant: documents come in the order of their links, one for each link or the fault that keeps it from being read, and
no more than a few are in memory, however many there are. The documents do not depend on how many processes read them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from rlaif.documents.cache import DocumentCache
from rlaif.documents.document import Document
from rlaif.documents.fetching import Fetcher
from rlaif.documents.limits import Limits
from rlaif.documents.links import Link
from rlaif.documents.reader_process import ReaderProcess
from rlaif.documents.reading import READER, sha256_of
from rlaif.errors import Fault, UserError

_AHEAD = 2
"""Documents that are read or wait for each process, so that a slow one does not stop the others."""
_PROCESSES = 8
"""Processes of this machine, at most, where Ray does not run."""

Outcome = Document | Fault
Waiting = Callable[[], Outcome]


def read_library(
    links: Iterable[Link | Fault],
    *,
    limits: Limits | None = None,
    fetcher: Fetcher | None = None,
    cache: DocumentCache | None = None,
    processes: int | None = None,
) -> Iterator[Outcome]:
    """Yield the document of each link, in order, or why it cannot be read; a fault among the links stays in its place.

    Documents are fetched by this process, and read in those of Ray if `ray.is_initialized()`.

    Args:
        limits: of each document.
        fetcher: what fetches web addresses; None refuses them.
        cache: where documents that were read are kept; None keeps none.
        processes: that read at once; None takes one for each processor, of the cluster or of this machine.
    """
    limits = limits or Limits()
    reader = _RayReader(limits, processes) if _ray_runs() else _LocalReader(limits, processes)
    waiting: deque[Waiting] = deque()
    try:
        for link in links:
            if len(waiting) >= reader.most:
                yield waiting.popleft()()
            waiting.append(_begin(link, reader, limits, fetcher, cache))
        while waiting:
            yield waiting.popleft()()
    finally:
        reader.close()


def _begin(
    link: Link | Fault,
    reader: "_LocalReader | _RayReader",
    limits: Limits,
    fetcher: Fetcher | None,
    cache: DocumentCache | None,
) -> Waiting:
    """Begin to read a document; the function that is returned waits for it."""
    if isinstance(link, Fault):
        return _known(link)
    try:
        data = link.content(fetcher, limits.bytes)
    except UserError as error:
        return _known(_fault(error, link))
    kept = cache.get(sha256_of(data), READER, link.name) if cache is not None else None
    if kept is not None:
        return _known(kept)
    read = reader.begin(data, link.name)

    def wait() -> Outcome:
        try:
            document = read()
        except UserError as error:
            return _fault(error, link)
        if cache is not None:
            cache.put(document)
        return document

    return wait


def _known(outcome: Outcome) -> Waiting:
    return lambda: outcome


def _fault(error: UserError, link: Link) -> Fault:
    """Return the one fault of a document, under the path that people gave."""
    fault = error.faults[0]
    return Fault(link.path, fault.problem, expected=fault.expected)


class _LocalReader:
    """Reads in processes of this machine, each of which a thread waits for."""

    def __init__(self, limits: Limits, processes: int | None) -> None:
        count = processes or min(len(os.sched_getaffinity(0)), _PROCESSES)
        self.most = _AHEAD * count
        self._processes = [ReaderProcess(limits) for _ in range(count)]
        self._idle: SimpleQueue[ReaderProcess] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(count, "documents")

    def begin(self, data: bytes, name: str) -> Callable[[], Document]:
        return self._threads.submit(self._read, data, name).result

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.close()
        self._threads.shutdown()

    def _read(self, data: bytes, name: str) -> Document:
        process = self._idle.get()
        try:
            return process.read(data, name)
        finally:
            self._idle.put(process)


class _RayReader:
    """Reads in tasks of Ray, on all nodes; each of Ray's processes keeps one that reads."""

    def __init__(self, limits: Limits, processes: int | None) -> None:
        import ray

        self._ray = ray
        self._limits = limits
        count = processes or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.most = _AHEAD * count
        # A task that dies with its node is tried again by Ray; a document that ends its reader is a fault.
        self._task = ray.remote(num_cpus=1, max_retries=3)(_read_in_task)

    def begin(self, data: bytes, name: str) -> Callable[[], Document]:
        reference = self._task.remote(data, name, self._limits)
        return lambda: _opened(self._ray.get(reference))

    def close(self) -> None:
        """Nothing is left: Ray ends idle processes, and with them those that they started."""


def _opened(outcome: Outcome) -> Document:
    if isinstance(outcome, Fault):
        raise UserError(outcome)
    return outcome


_of_this_process: dict[Limits, ReaderProcess] = {}


def _read_in_task(data: bytes, name: str, limits: Limits) -> Outcome:
    """Read a document in a process of Ray."""
    process = _of_this_process.setdefault(limits, ReaderProcess(limits))
    try:
        return process.read(data, name)
    except UserError as error:
        return error.faults[0]


def _ray_runs() -> bool:
    import sys

    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())
