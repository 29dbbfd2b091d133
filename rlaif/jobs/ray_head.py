"""The way to a Ray head's dashboard: with the token that it wants, and what goes wrong in one line.

Invariant: a token comes from the environment or a file that Ray names, and stands in no argument, message or log.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from rlaif.errors import UserError, WorkError

LOCAL = "http://127.0.0.1:8265"

Address = Annotated[
    str,
    typer.Option(
        "--address", envvar="RAY_API_SERVER_ADDRESS", help="The Ray head's dashboard, such as http://HEAD:8265."
    ),
]
# Ray lets these override an address that is given in so many words.
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def connect(address: str) -> Any:
    """Return Ray's client of the job API.

    Raises:
        UserError: nothing answers at the address, or it wants a token that this process does not have.
    """
    import logging

    _knock(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _address_as_given():
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)
        with talk(address):
            return JobSubmissionClient(address)


def nodes(address: str) -> list[dict[str, Any]]:
    """Return the resources of each node that is alive: `CPU`, `GPU`, `memory` in bytes, `accelerator_type:...`.

    Raises:
        UserError: as `connect`.
    """
    connect(address)
    with _address_as_given(), talk(address):
        from ray.util.state import list_nodes
        from ray.util.state.exception import RayStateApiException

        try:
            # The limit is Ray's own on one answer.
            found = list_nodes(address, filters=[("state", "=", "ALIVE")], limit=10_000)
        except RayStateApiException as error:
            raise WorkError(f"{address}: {first_line(error)}") from None
    return [dict(node.resources_total) for node in found]


def elsewhere(address: str) -> str:
    """Return the option that names an address in a shown command; "" for the one that is taken anyway."""
    return f" --address {address}" if address != LOCAL else ""


@contextmanager
def talk(address: str) -> Iterator[None]:
    """Turn what goes wrong between here and a Ray head into one line that says what to do."""
    try:
        yield
    except (UserError, WorkError):
        raise
    except Exception as error:
        from ray.exceptions import AuthenticationError

        if isinstance(error, AuthenticationError):
            raise UserError(f"{address}: the Ray head wants a token: {_token_message(error)}") from None
        if isinstance(error, OSError):
            raise _nobody(address, first_line(error)) from None
        if isinstance(error, RuntimeError | ValueError):  # Ray refuses a package that is too large with the latter.
            if "status code 404" in str(error):
                raise UserError(f"{address}: no such job; `rlaif status` lists those there") from None
            raise WorkError(f"{address}: {first_line(error)}") from None
        raise


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _knock(address: str) -> None:
    """See that somebody answers: Ray's own client would wait minutes for a host that swallows packets."""
    import urllib.error
    import urllib.request

    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address {address}: expected the Ray head's dashboard, such as http://HEAD:8265")
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code == 401:
            # Ray's client looks for the token (~/.ray/auth_token and the like) only where this is set.
            os.environ["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE") or "token"
    except (OSError, ValueError) as error:
        raise _nobody(address, getattr(error, "reason", error)) from None


@contextmanager
def _address_as_given() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _nobody(address: str, reason: object) -> UserError:
    return UserError(
        f"{address}: no Ray head answers ({reason}); expected its dashboard's address, such as http://HEAD:8265"
    )


def _token_message(error: Exception) -> str:
    places = "RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return f"RAY_AUTH_MODE is `disabled` here; expected it unset, and the token in {places}"
    return f"{first_line(error).split('. ')[0]}; expected the head's token in {places}"
