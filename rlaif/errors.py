"""The exceptions that stop at the edge, where a person can act on their message.

The command line turns a `UserError` into exit code 2 and a `WorkError` into exit code 1, each with
its one message and no traceback. Whatever else is raised is a defect of ours and keeps its traceback.
"""

import errno


class RlaifError(Exception):
    """Base of all errors whose message is written for the person who runs `rlaif`."""


class UserError(RlaifError):
    """What was asked cannot be done as asked: a recipe, a file, a name or a setting is wrong."""


class WorkError(RlaifError):
    """What was asked was right, but the work failed on the way."""


class Interrupted(RlaifError):
    """A person or the system asked the run to stop; what is committed stays."""


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room: on the disk, in a quota, or under a limit on a file's size."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its class's name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
