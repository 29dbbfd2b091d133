"""What an endpoint or a URL is sent that nobody else may see: a key, and the headers of a judge file.

Invariant: values come from the environment or the judge file when the judge is opened, each can be sent, and
`Credentials` has no representation that shows one.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlaif.errors import UserError, storable
from rlaif.recipe.judge import ENVIRONMENT_VARIABLE, HEADER_VALUE, NOT_STORED, OpenAIBackend

_SHORTEST_SECRET = 6
"""Characters below which a text is not hidden: it would be found in ordinary words. A key is hidden whatever it is."""
_ORDINARY = re.compile(r"[A-Z]?[a-z]+(?:[-_/.,;:'][A-Z]?[a-z]+)*[.,;:]?")
"""A word of a header that a message may use too, such as Bearer or application/json."""
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key, or None where none is needed, and headers.

    Attributes:
        variables: values of the environment that the headers are made of.
    """

    key: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    variables: frozenset[str] = field(default=frozenset(), repr=False)

    def hidden(self, text: str) -> str:
        """Return a text with `***` for the key, headers' values, the variables in them, and their words but plain ones.

        The last word of a header such as `Bearer ...` is hidden whatever it is.
        """
        texts = {*self.headers.values(), *self.variables}
        words = {word for given in texts for word in given.split() if not _ORDINARY.fullmatch(word)}
        last = {given.split()[-1] for given in self.headers.values() if len(given.split()) == 2}
        secrets = {secret for secret in texts | words | last if len(secret) >= _SHORTEST_SECRET} | {self.key or ""}
        # The longest first: one may be a part of another.
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            text = text.replace(secret, NOT_STORED)
        return text

    def line(self, text: str) -> str:
        """Return a provider's words as one line of bounded length that can be stored, with `***` for each secret."""
        line = " ".join(storable(self.hidden(text)).split())
        return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."


def read_credentials(backend: OpenAIBackend) -> Credentials:
    """Return what an endpoint is sent.

    Raises:
        UserError: a variable of the environment is not set, or its value cannot be sent.
    """
    key, who = None, f"{backend.model} at {backend.base_url}"
    if backend.api_key_env is not None:
        expected = f"its key in the environment variable {backend.api_key_env}"
        where = "backend.api_key_env of the judge file; null sends no key"
        key = _variable(backend.api_key_env, who, expected, where)
        if not HEADER_VALUE.fullmatch(key):
            raise UserError(f"{who}: {expected}, of printable ASCII characters alone ({where})")
    return header_credentials(backend.headers, who, "backend.headers", key)


def header_credentials(headers: Mapping[str, str], who: str, where: str, key: str | None = None) -> Credentials:
    """Return headers with the environment's values.

    Args:
        headers: as in a judge file.
        who: is sent them, for the message.
        where: the headers' key in the judge file, for the message.
        key: is sent along.

    Raises:
        UserError: a variable is not set, a value cannot be sent, or it comes from a record, which holds none.
    """
    found, variables = {}, set()
    for name, value in headers.items():
        place = f"{where}.{name} of the judge file"
        if value == NOT_STORED:
            raise UserError(f"{place}: its value was not stored; expected ${{NAME}}, an environment variable")

        def from_environment(match: re.Match[str], place: str = place) -> str:
            given = _variable(match[1], who, f"the environment variable {match[1]}", place)
            variables.add(given)
            return given

        sent = ENVIRONMENT_VARIABLE.sub(from_environment, value)
        if not HEADER_VALUE.fullmatch(sent):
            raise UserError(f"{who}: {place}: expected a text of printable ASCII characters")
        found[name] = sent
    return Credentials(key, found, frozenset(variables))


def _variable(name: str, who: str, expected: str, where: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"{who}: expected {expected}, which is not set ({where})")
    return value
