"""Fixtures of all tests: the shared data, one Ray cluster, the embedded model."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests interrupt commands, which inherit this handler; a background job would inherit one that ignores the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example takes long without being wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SHARED = Path(__file__).parents[1].parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and run the fast ones first."""
    for item in items:
        folder = Path(item.path).parent.name
        if folder in ("integration", "e2e", "gpu"):
            item.add_marker(getattr(pytest.mark, folder))
    order = {"unit": 0, "integration": 1, "e2e": 2, "gpu": 3}
    items.sort(key=lambda item: order.get(Path(item.path).parent.name, 0))


@pytest.fixture(scope="session", autouse=True)
def float32_on_every_cpu() -> Iterator[None]:
    """`dtype: auto` means float32 in this process, also on a CPU with bfloat16 units: tests compare to 1e-5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlaif.models.dtype.has_cpu_bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED / "data"


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One Ray cluster on this machine for all tests of a session that need one in their own process."""
    from rlaif.cluster.ray_cluster import ray_cluster

    with ray_cluster(None):
        yield


@pytest.fixture(scope="session")
def model_folder() -> str:
    """The embedded model as safetensors."""
    from rlaif.models.builtin import BUILTIN
    from rlaif.models.resolve import resolve_model

    return resolve_model(BUILTIN)
