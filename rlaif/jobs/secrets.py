"""Environment variables of the one who submits, for the driver of a job alone: keys of remote judges and of stores.

Ray's own way, `env_vars` of a runtime environment, is none for keys: Ray writes them to logs of every node and shows
them to whoever lists jobs. Here the values are put once into the head's own store, under a name that nobody guesses,
where the driver takes them and removes them before it does anything else. What nobody takes Ray removes after ten
minutes, as it does with packages of jobs that never start. Invariant: a value stands in no argument, runtime
environment, metadata, log or file.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.errors import UserError, WorkError

# Where putting fails, Ray's log shows the first bytes of what it was given.
_HEADER = b"environment of a job of rlaif\n"


def values_of(names: Sequence[str]) -> dict[str, str]:
    """Return the values of variables of this process.

    Raises:
        UserError: one is not set, or is given with a value.
    """
    found = {}
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            shown = name.partition("=")[0]
            raise UserError(
                f"--env {shown}: expected the name of a variable alone; its value comes from the environment"
            )
        if name not in os.environ:
            raise UserError(f"--env {name}: not set here; expected its value in the environment")
        found[name] = os.environ[name]
    return found


def put(client: Any, values: Mapping[str, str]) -> str:
    """Put values where the driver of one job takes them, and return the place's name.

    Args:
        client: Ray's client of the job API.
        values: by name.
    """
    name = f"rlaif_{secrets.token_hex(24)}.zip"
    path = f"/api/packages/gcs/{name}"
    # Asking for it first has Ray remove it after a while, if the job never comes.
    client._do_request("GET", path)
    answer = client._do_request("PUT", path, data=_HEADER + json.dumps(dict(values)).encode())
    if answer.status_code != 200:
        raise WorkError(f"the head does not take the variables of --env: status {answer.status_code}")
    return f"gcs://{name}"


def take(place: str) -> dict[str, str]:
    """Return the values that were put somewhere, and remove them; call it in the driver of a job.

    Raises:
        WorkError: they are not there, or not there any more.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    store = GcsClient(address=os.environ["RAY_ADDRESS"])
    data = store.internal_kv_get(place.encode(), None)
    store.internal_kv_del(place.encode(), False, None)
    if data is None:
        raise WorkError("the variables of --env are gone: a job takes them once and soon; submit it again")
    values: dict[str, str] = json.loads(bytes(data).removeprefix(_HEADER))
    return values
