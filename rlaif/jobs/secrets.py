"""Environment variables for the driver of one job: keys of endpoints and object stores.

Ray's own `env_vars` of a runtime environment are unsafe for keys: Ray logs them on every node and shows them to
everyone who lists jobs. Here the submitter puts the values into the head's key-value store, under a random name, and
the driver takes and removes them before anything else. Ray removes values that nobody takes after ten minutes.
Invariant: a value appears in no argument, runtime environment, metadata, log or file.

Ray has no public interface with these properties: whatever its job API carries is logged, listed or unpacked to disk,
and actors need a port besides the dashboard's. So `put` and `take` use Ray's upload of packages and its GCS client.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.errors import UserError, WorkError

# If the upload fails, Ray logs the first bytes of the data.
_HEADER = b"environment of a job of rlaif\n"


def values_of(names: Sequence[str]) -> dict[str, str]:
    """Return the values of environment variables of this process."""
    found = {}
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            shown = name.partition("=")[0]
            raise UserError(f"--env {shown}: expected the name of a variable alone; set its value in the environment")
        if name not in os.environ:
            raise UserError(f"--env {name}: not set here; expected its value in the environment")
        found[name] = os.environ[name]
    return found


def put(client: Any, values: Mapping[str, str]) -> str:
    """Put values where one job's driver can take them, and return their URI; `client` is Ray's, of the job API."""
    name = f"rlaif_{secrets.token_hex(24)}.zip"
    path = f"/api/packages/gcs/{name}"
    # A request for the package makes Ray remove it later if no job uses it.
    client._do_request("GET", path)
    answer = client._do_request("PUT", path, data=_HEADER + json.dumps(dict(values)).encode())
    if answer.status_code != 200:
        raise WorkError(f"the Ray head refuses the variables of --env: status {answer.status_code}")
    return f"gcs://{name}"


def take(uri: str) -> dict[str, str]:
    """Return the values at a URI and remove them; call it in the driver of a job."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    store = GcsClient(address=os.environ["RAY_ADDRESS"])
    data = store.internal_kv_get(uri.encode(), None)
    store.internal_kv_del(uri.encode(), False, None)
    if data is None:
        raise WorkError(
            "the variables of --env are gone: a job can take them once, within ten minutes; submit it again"
        )
    values: dict[str, str] = json.loads(bytes(data).removeprefix(_HEADER))
    return values
