"""The coordinator's exactly-once test on an S3-compatible store: moto's server on loopback."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.unit.test_coordinator import Engines, Judge, dispatch, once


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        name = f"runs-{uuid4().hex}"
        s3fs.S3FileSystem().mkdir(name)
        yield f"s3://{name}"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


def test_every_question_is_in_the_store_once(bucket: str) -> None:
    engines, judge = Engines(), Judge()
    dispatch(f"{bucket}/run", 40, engines, judge)
    once(f"{bucket}/run", 40)
    # A second start finds everything done and samples nothing.
    dispatch(f"{bucket}/run", 40, engines, judge)
    assert set(engines.asked.values()) == set(judge.asked.values()) == {1}


def test_a_failed_write_loses_and_repeats_nothing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.store import shards

    written, number = shards.write_table, 0

    def write(where: str, table: object) -> None:
        nonlocal number
        number += 1
        if number in (3, 4, 8):
            raise OSError(f"{where}: the store does not answer")
        written(where, table)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "write_table", write)
    for _ in range(3):
        try:
            dispatch(f"{bucket}/run", 40, Engines(), Judge())
        except OSError:
            continue
        break
    once(f"{bucket}/run", 40)
