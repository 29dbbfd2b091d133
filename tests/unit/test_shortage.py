"""The share of the request that a smaller cluster gets, and the messages while something is missing."""

import asyncio
from typing import Any

import pytest

from rlaif.cluster.resources import Resources, ResourceWait, share_devices
from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection


@pytest.mark.parametrize(
    ("counts", "there", "given"),
    [
        ([(4, 1), (1, 4)], 8, [4, 1]),
        ([(4, 1), (1, 4)], 6, [2, 1]),
        ([(4, 1), (4, 2)], 7, [3, 2]),
        ([(8, 1), (2, 1)], 5, [4, 1]),
        ([(3, 1)], 100, [3]),
    ],
)
def test_a_smaller_cluster_gets_a_share_of_each(counts: list[tuple[int, int]], there: int, given: list[int]) -> None:
    assert share_devices(counts, there) == given


def test_one_of_each_is_the_least() -> None:
    with pytest.raises(WorkError, match="3 devices do not hold one of each: 1, 4"):
        share_devices([(4, 1), (1, 4)], 3)


def watch(monkeypatch: pytest.MonkeyPatch, there: list[int], minutes: float, go_on: bool, coming: bool = False) -> Any:
    """Wait in a cluster whose number of GPUs changes; return the result and the messages."""
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": there.pop(0) if len(there) > 1 else there[0]})
    monkeypatch.setattr("rlaif.cluster.resources._LOOK_SECONDS", 0.01)
    messages: list[str] = []

    async def work() -> Any:
        cluster = ClusterSection(wait_minutes=minutes, shortage="go_on" if go_on else "give_up")
        wait = ResourceWait(cluster, Resources(4, 0), "the engines", lambda event: messages.append(event.notice or ""))
        if not coming:
            await wait.until_there()
            return None
        return await wait.watch(asyncio.sleep(30, "came"))

    return asyncio.run(work()), messages


def test_reports_once_what_is_missing_and_continues_when_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    _, messages = watch(monkeypatch, [1, 1, 3, 4], 1, go_on=False)
    assert messages == ["waiting up to 1 minutes: the engines need 3 of 4 GPUs more than the Ray cluster has"]


def test_gives_up_with_the_missing_resources_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkError, match=r"need 2 of 4 GPUs more than the Ray cluster has; waited 0\.001 minutes"):
        watch(monkeypatch, [2], 0.001, go_on=False)


@pytest.mark.parametrize("coming", [False, True])
def test_continues_with_the_available_resources(monkeypatch: pytest.MonkeyPatch, coming: bool) -> None:
    came, messages = watch(monkeypatch, [2], 0.001, go_on=True, coming=coming)
    assert came is None
    assert messages[-1].startswith(
        "continuing with the resources there are (cluster.shortage): the engines need 2 of 4 GPUs"
    )
