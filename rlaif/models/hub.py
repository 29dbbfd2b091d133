"""Whether the hub answers at all: found out once, in seconds, since the hub's client tries for half a minute a file."""

import os
import ssl
import urllib.error
import urllib.request
from functools import lru_cache

_SECONDS = 3


@lru_cache(maxsize=1)
def hub_answers() -> bool:
    """Return whether the hub can be reached; if not, this process's hub clients are told to use their cache alone.

    The hub's clients read `HF_HUB_OFFLINE` when they are imported, so call it before that.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # It answers; whether it lets us in is its client's to say.
    except (OSError, ValueError) as error:
        # What cannot check a certificate reaches something all the same, and the hub's client may know it.
        if not isinstance(getattr(error, "reason", error), ssl.SSLError):
            os.environ["HF_HUB_OFFLINE"] = "1"
            return False
    return True
