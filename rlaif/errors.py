"""The exceptions that stop at the edge, where a person can act on their message, and the faults that they carry.

The command line turns a `UserError` into exit code 2 and a `WorkError` into exit code 1, each as one message without
a traceback. Any other exception is a defect and keeps its traceback.
"""

import errno
import re
from dataclasses import dataclass

_CREDENTIAL = re.compile(r"""(?<=://)[^\s/'"@]+@|(?<![\w:@])[^\s/'"@:]+:[^\s/'"@]+@""")
_QUERY = re.compile(r"""(://[^\s'"?#]*[?#])[^\s'"]+""")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input, as a value; `str` words it for a person.

    >>> str(Fault("mine.yaml", line=3, field="training.beta", expected="greater than 0", found="-1"))
    'mine.yaml:3: training.beta: expected greater than 0 (got -1)'

    Attributes:
        path: the file, dataset or option, or "" where there is none.
        problem: what is wrong, where `expected` alone does not say it.
        line, row: of a file; of a Parquet file, a JSON array or a dataset. Both from 1.
        field: dotted key or column.
        found: what is there instead of what is expected, as `shown` returns it; "" leaves it out.
    """

    path: str
    problem: str = ""
    line: int | None = None
    row: int | None = None
    field: str = ""
    expected: str = ""
    found: str = ""

    @property
    def location(self) -> str:
        line = "" if self.line is None else f":{self.line}"
        path = _CREDENTIAL.sub("***@", _QUERY.sub(r"\1***", self.path)) if "://" in self.path else self.path
        return f"{path}{line}" if self.row is None else f"{path}{line}: row {self.row}"

    @property
    def message(self) -> str:
        """The fault without its location."""
        message = "; ".join(filter(None, (self.problem, f"expected {self.expected}" if self.expected else "")))
        found = f" (got {self.found})" if self.found else ""
        return ": ".join(filter(None, (self.field, f"{message}{found}")))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.location, self.message)))


class RlaifError(Exception):
    """Base of all errors whose message is written for the person who runs `rlaif`."""


class UserError(RlaifError):
    """The request cannot be carried out: a recipe, a file, a name or a setting is wrong."""

    def __init__(self, *faults: Fault | str) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(fault for fault in faults if isinstance(fault, Fault))


class SecretError(ValueError):
    """A value is wrong that may hold a secret; no message quotes it."""


class WorkError(RlaifError):
    """The request was right, but the work failed."""


class Interrupted(RlaifError):
    """A person or the system asked the run to stop; committed work is kept."""


class Notice(UserWarning):
    """Something that a person should know of work that goes on; the command line prints it as one line."""


class RenamedWarning(Notice):
    """An input uses an old name, which is still accepted; the message names the new one."""


def is_disk_full(error: OSError) -> bool:
    """Return whether a write failed for lack of space: on the disk, in a quota, or under a file size limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its class's name if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: half of a surrogate pair, which JSON may bring, as its escape.

    >>> storable("half \\ud83d")
    'half \\\\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """Return a value's `repr` for a message, cut after 60 characters, without the credential or query of a URL.

    >>> shown("https://me:secret@host/v1?key=1")
    "'https://***@host/v1?***'"
    """
    try:
        text = _CREDENTIAL.sub("***@", _QUERY.sub(r"\1***", repr(value)))
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]}..."
