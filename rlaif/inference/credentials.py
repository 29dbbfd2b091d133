"""What an endpoint or a URL is sent that nobody else may see: a key, and the headers of a judge file.

Invariant: values come from the environment or the judge file when the judge is opened, and `Credentials` has no
representation that shows one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlaif.errors import UserError
from rlaif.recipe.judge import ENVIRONMENT_VARIABLE, HEADER_VALUE, NOT_STORED, OpenAIBackend

_SHORTEST_SECRET = 6
"""Characters below which a text is not hidden: it would be found in ordinary words. A key is hidden whatever it is."""
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key, or None where none is needed, and headers."""

    key: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def hidden(self, text: str) -> str:
        """Return a text with `***` for the key, and for the values of headers and the words in them."""
        words = {word for value in self.headers.values() for word in (value, *value.split())}
        secrets = {word for word in words if len(word) >= _SHORTEST_SECRET} | {self.key or ""} - {""}
        # The longest first: one may be a part of another.
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, NOT_STORED)
        return text

    def line(self, text: str) -> str:
        """Return a provider's words as one line of bounded length, with `***` for each secret."""
        line = " ".join(self.hidden(text).split())
        return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."


def read_credentials(backend: OpenAIBackend) -> Credentials:
    """Return what an endpoint is sent.

    Raises:
        UserError: a variable of the environment is not set.
    """
    key, who = None, f"{backend.model} at {backend.base_url}"
    if backend.api_key_env is not None:
        expected = f"its key in the environment variable {backend.api_key_env}"
        where = "backend.api_key_env of the judge file; null sends no key"
        key = _variable(backend.api_key_env, who, expected, where)
    return Credentials(key, read_headers(backend.headers, who, "backend.headers"))


def read_headers(headers: Mapping[str, str], who: str, where: str) -> dict[str, str]:
    """Return headers with the environment's values.

    Args:
        headers: as in a judge file.
        who: is sent them, for the message.
        where: the headers' key in the judge file, for the message.

    Raises:
        UserError: a variable is not set, a value cannot be sent, or it comes from a record, which holds none.
    """
    found = {}
    for name, value in headers.items():
        place = f"{where}.{name} of the judge file"
        if value == NOT_STORED:
            raise UserError(f"{place}: its value was not stored; expected ${{NAME}}, an environment variable")
        for variable in ENVIRONMENT_VARIABLE.findall(value):
            given = _variable(variable, who, f"the environment variable {variable}", place)
            value = value.replace(f"${{{variable}}}", given)
        if not HEADER_VALUE.fullmatch(value):
            raise UserError(f"{who}: {place}: expected a text of printable ASCII characters")
        found[name] = value
    return found


def _variable(name: str, who: str, expected: str, where: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"{who}: expected {expected}, which is not set ({where})")
    return value
