"""Whether the Hugging Face hub can be reached.

Checked once per process, in seconds: without a network the hub's own client retries each file for half a minute.
"""

import os
import ssl
import urllib.error
import urllib.request
from functools import lru_cache

_SECONDS = 3


@lru_cache(maxsize=1)
def hub_answers() -> bool:
    """Return whether the hub can be reached; if not, set `HF_HUB_OFFLINE` so that hub clients use their cache alone.

    Call it before a hub client is imported: they read the variable on import.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # The hub answers; its client reports whether it grants access.
    except (OSError, ValueError) as error:
        # The server was reached even if its certificate cannot be verified here; the hub's client may trust it.
        if not isinstance(getattr(error, "reason", error), ssl.SSLError):
            os.environ["HF_HUB_OFFLINE"] = "1"
            return False
    return True
