"""What an endpoint is sent that nobody else may see: its key, and the headers of its judge file.

Invariant: values come from the environment or the judge file when a server is opened, and `Credentials` has no
representation that shows one.
"""

import os
from dataclasses import dataclass, field

from rlaif.errors import UserError
from rlaif.recipe.judge import ENVIRONMENT_VARIABLE, NOT_STORED, OpenAIBackend

_SHORTEST_SECRET = 6
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key of an endpoint, or None where it needs none, and its headers."""

    key: str | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    _secrets: tuple[str, ...] = field(default=(), repr=False)

    def line(self, text: str) -> str:
        """Return a provider's words as one line of bounded length, with `***` for each secret."""
        for secret in self._secrets:
            text = text.replace(secret, NOT_STORED)
        line = " ".join(text.split())
        return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."


def read_credentials(backend: OpenAIBackend) -> Credentials:
    """Return what an endpoint is sent.

    Raises:
        UserError: a variable of the environment is not set.
    """
    key = None
    if backend.api_key_env is not None:
        expected = f"its key in the environment variable {backend.api_key_env}"
        where = "backend.api_key_env of the judge file; null sends no key"
        key = _variable(backend, backend.api_key_env, expected, where)
    secrets = [key or ""]
    headers = {}
    for name, value in backend.headers.items():
        where = f"backend.headers.{name} of the judge file"
        if value == NOT_STORED:
            raise UserError(f"{where}: its value was not stored; expected ${{NAME}}, an environment variable")
        for variable in ENVIRONMENT_VARIABLE.findall(value):
            given = _variable(backend, variable, f"the environment variable {variable}", where)
            value = value.replace(f"${{{variable}}}", given)
            secrets.append(given)
        headers[name] = value
        secrets.append(value)
    # The longest first: one may be a part of another.
    shown = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET or secret == key}, key=len)
    return Credentials(key, headers, tuple(secret for secret in reversed(shown) if secret))


def _variable(backend: OpenAIBackend, name: str, expected: str, where: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"{backend.model} at {backend.base_url}: expected {expected}, which is not set ({where})")
    return value
