"""The exceptions that stop at the edge, where a person can act on their message.

The command line turns a `UserError` into exit code 2 and a `WorkError` into exit code 1, each with
its one message and no traceback. Whatever else is raised is a defect of ours and keeps its traceback.
"""


class RlaifError(Exception):
    """Base of all errors whose message is written for the person who runs `rlaif`."""


class UserError(RlaifError):
    """What was asked cannot be done as asked: a recipe, a file, a name or a setting is wrong."""


class WorkError(RlaifError):
    """What was asked was right, but the work failed on the way."""


class Interrupted(RlaifError):
    """A person or the system asked the run to stop; what is committed stays."""
