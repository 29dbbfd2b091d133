"""The timeline of a run: time that passed while it ran, in spans of its stages."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rlaif.reporting.timeline import timeline
from rlaif.store.events import AnyEvent, parse_event


def events(*drawn: tuple[float | None, str, dict[str, Any]]) -> list[AnyEvent]:
    """Return events as read from `events.jsonl`, each of its seconds, name and fields."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    read = []
    for at, name, fields in drawn:
        time = "unreadable" if at is None else (began + timedelta(seconds=at)).isoformat()
        read.append(parse_event(json.dumps({"time": time, "event": name, **fields})))
    return [event for event in read if event is not None]


def test_time_between_two_starts_is_left_out_and_a_killed_stage_is_marked() -> None:
    sample = {"stage": "sample", "round": 0}
    times = timeline(
        events(
            (0, "begin", {}), (1, "stage_started", sample), (11, "retry", {"reason": "died"}), (1011, "resume", {}),
            (1012, "stage_started", sample), (1022, "stage_done", {**sample, "seconds": 10.0}), (1023, "finished", {}),
            (5000, "odd", {}), (None, "begin", {}),
        )
    )  # fmt: skip
    assert [(span.start, span.end, span.cut) for span in times.spans] == [(1, 11, True), (12, 22, False)]
    assert [(pause.at, pause.seconds) for pause in times.pauses] == [(11, 1000)]
    assert times.seconds == 23
    assert times.by_stage() == {"sample": 20}
    assert [note.event for note in times.notes] == ["begin", "retry", "resume", "finished"]


_EVENTS = st.tuples(
    st.floats(0, 1e5),
    st.sampled_from(["begin", "resume", "stage_started", "stage_done", "stage_broken", "interrupted"]),
    st.sampled_from(["sample", "train"]),
    st.sampled_from([None, 0, 1]),
)


@given(st.lists(_EVENTS, max_size=30))
def test_in_any_order_of_events_no_span_exceeds_the_runs_time(drawn: list[tuple[float, str, str, int | None]]) -> None:
    drawn.sort(key=lambda entry: entry[0])
    times = timeline(events(*((at, name, {"stage": stage, "round": number}) for at, name, stage, number in drawn)))
    slack = 1e-3
    for span in times.spans:
        assert -slack <= span.start <= span.end + slack <= times.seconds + 2 * slack
    assert all(pause.seconds >= 0 for pause in times.pauses)
