"""The process in which documents are read, one after another, with limits of memory and processor time.

It reads one line of JSON for each document, followed by the document's bytes where the line says how many, and answers
with one line, the length of the JSON that follows it. Its first answer, of no length, says that it is ready.
Invariant: only these answers reach the parent, whatever the parsers print; the process writes no file, and it ends with
its parent.
"""

import contextlib
import json
import os
import resource
import sys
import threading
from queue import SimpleQueue
from typing import IO, Any

from rlaif.documents.document_json import to_json
from rlaif.documents.limits import Limits
from rlaif.documents.reading import read_document
from rlaif.errors import UserError


def main() -> None:
    """Answer what comes on standard input on what was standard output."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    memory = int(sys.argv[1])
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        # Some systems do not hold these limits; the time's is the parent's too.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    asked: SimpleQueue[tuple[dict[str, Any], bytes | None]] = SimpleQueue()
    _answer_with(answers, b"")
    threading.Thread(target=_read_requests, args=(requests, asked), daemon=True).start()
    while True:
        request, data = asked.get()
        _answer_with(answers, _answer(request, data))


def _answer_with(answers: IO[bytes], answer: bytes) -> None:
    answers.write(b"%d\n" % len(answer))
    answers.write(answer)
    answers.flush()


def _read_requests(requests: IO[bytes], asked: "SimpleQueue[tuple[dict[str, Any], bytes | None]]") -> None:
    for line in requests:
        request = json.loads(line)
        asked.put((request, requests.read(request["size"]) if "size" in request else None))
    # The parent is gone, or wants no more: a parser that hangs must not outlive it.
    os._exit(0)


def _answer(request: dict[str, Any], data: bytes | None) -> bytes:
    """Return a document's JSON, or that of what keeps it from being read."""
    limits = Limits(**request["limits"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + limits.seconds) + 2
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        return to_json(read_document(request["path"] if data is None else data, request["name"], limits))
    except UserError as error:
        fault = error.faults[0]
        return json.dumps({"problem": fault.problem, "expected": fault.expected}).encode("ascii")
    except MemoryError:
        return json.dumps({"problem": f"takes more than {limits.memory >> 20:,} MiB of memory to read"}).encode("ascii")
    except RecursionError:
        return json.dumps({"problem": "is nested too deep"}).encode("ascii")
    except Exception as error:  # One document's defect costs no other; its kind is in the line that people see.
        return json.dumps({"problem": f"cannot be read: {type(error).__name__}: {str(error)[:120]}"}).encode("ascii")


if __name__ == "__main__":
    main()
