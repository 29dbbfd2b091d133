"""What keeps a document from being read, as the one line that people see."""


class UnreadableError(Exception):
    """A document cannot be read; the message says why and `expected` what it should have been.

    Attributes:
        problem: what is wrong.
        expected: "" where the problem says it.
    """

    def __init__(self, problem: str, expected: str = "") -> None:
        super().__init__(problem)
        self.problem, self.expected = problem, expected
