"""The connection to a Ray head's dashboard: its token, and one line for each error.

Invariant: a token comes from the environment or from a file that Ray names, and appears in no argument, message or log.
"""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlaif.errors import UserError, WorkError, first_line

LOCAL = "http://127.0.0.1:8265"
# In Ray, these take precedence over an address that is given as an argument.
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@contextmanager
def job_client(address: str) -> Iterator[Any]:
    """Connect to a Ray head, and yield Ray's client of the job API; its errors in the block become one line each."""
    _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with _without_overrides():
            from ray.job_submission import JobSubmissionClient

            for handler in logging.getLogger("ray").handlers:
                handler.setLevel(logging.WARNING)
            client = JobSubmissionClient(address)
        yield client
    except (UserError, WorkError):
        raise
    except Exception as error:
        from ray.exceptions import AuthenticationError

        if isinstance(error, AuthenticationError):
            raise UserError(f"{address}: the Ray head requires a token: {_token_message(error)}") from None
        if isinstance(error, OSError):
            raise _no_answer(address, first_line(error)) from None
        if isinstance(error, RuntimeError | ValueError):  # Ray raises ValueError for a package that is too large.
            if "status code 404" in str(error):
                raise UserError(f"{address}: no such job; `rlaif status` lists the jobs there") from None
            raise WorkError(f"{address}: {first_line(error)}") from None
        raise


def nodes(address: str) -> list[dict[str, Any]]:
    """Return the resources of each live node: `CPU`, `GPU`, `memory` in bytes, `accelerator_type:...`."""
    with job_client(address), _without_overrides():
        from ray.util.state import list_nodes
        from ray.util.state.exception import RayStateApiException

        try:
            # The limit is Ray's maximum for one answer.
            found = list_nodes(address, filters=[("state", "=", "ALIVE")], limit=10_000)
        except RayStateApiException as error:
            raise WorkError(f"{address}: {first_line(error)}") from None
    return [dict(node.resources_total) for node in found]


def _check_answers(address: str) -> None:
    """Check that a head answers: Ray's own client would wait minutes for a host that drops packets."""
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address {address}: expected the Ray head's dashboard, such as http://HEAD:8265")
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code == 401:
            # Ray's client looks for the token (~/.ray/auth_token and others) only if this is set.
            os.environ["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE") or "token"
    except (OSError, ValueError) as error:
        raise _no_answer(address, getattr(error, "reason", error)) from None


@contextmanager
def _without_overrides() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _no_answer(address: str, reason: object) -> UserError:
    return UserError(
        f"{address}: no Ray head answers ({reason}); expected its dashboard's address, such as http://HEAD:8265"
    )


def _token_message(error: Exception) -> str:
    sources = "RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return f"RAY_AUTH_MODE is `disabled` here; unset it, and put the token in {sources}"
    return f"{first_line(error).split('. ')[0]}; expected the head's token in {sources}"
