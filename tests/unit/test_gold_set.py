"""The gold set: a judge that disagrees with people stops the round, and answered labels are not asked again."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.data.labels import Label, labels_jsonl
from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.jobs.bundle import make_bundle
from rlaif.judge_evals.gold_set import check_stored, judge_gold_set, load_gold_set, stored_id
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Comparison, Decision, Judge, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.progress import Silent
from rlaif.recipe import GoldSetSection, parse_recipe
from rlaif.reporting.html import render_page
from rlaif.rounds import loop
from rlaif.rounds.identity import differing_keys
from rlaif.rounds.round_judges import RoundJudges
from rlaif.store.events import ignore_event
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import GoldSetRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable
from tests.unit.small_run import SmallRun

REFERENCE = build_judge(load_judge_file("reference"), None)  # type: ignore[arg-type]


def label(name: str, human: str = "a", reference: str | None = "$7 million") -> Label:
    return Label(
        id=name, question="What were sales?", gold_answer=reference, answer_a="$7 million", answer_b="$8 million",
        human=human,
    )  # fmt: skip


@dataclass
class Watched:
    """The exact check, which records its questions; those in `failing` fail."""

    asked: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    name: str = "reference"
    sha: str = REFERENCE.sha

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        self.asked.append(prompt.id)
        if prompt.id.partition("@")[0] in self.failing:
            return [Verdict(prompt.id, 0, None, "error", None, None, "HTTP 503", self.name, self.sha)]
        return await REFERENCE.verdicts(prompt, answers, comparisons)

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        if any(verdict.status == "error" for verdict in verdicts):
            return [Decision(prompt_id, 0, 1, "error", None, None, None, None, self.name, self.sha)]
        return REFERENCE.decide(prompt_id, count, verdicts)


def judged(
    judge: Judge, labels: Sequence[Label], directory: RoundDir, limit: float = 0.7, events: list[Any] | None = None
) -> GoldSetRecord:
    emit = ignore_event if events is None else events.append
    return asyncio.run(judge_gold_set(judge, labels, directory, limit, progress=Silent(), emit=emit))


@pytest.fixture
def directory(tmp_path: Path) -> RoundDir:
    return RunDir(str(tmp_path / "run")).round(1)


def test_a_judge_that_agrees_lets_the_round_continue(directory: RoundDir) -> None:
    events: list[Any] = []
    labels = [label("1"), label("2"), label("3", "b"), label("4")]
    result = judged(REFERENCE, labels, directory, 0.75, events)
    assert (result.agreed, result.labels, result.agreement, result.passed) == (3, 4, 0.75, True)
    assert [(item.id, item.people, item.judge) for item in result.disagreeing] == [("3", "b", "a")]
    assert [event.model_dump(exclude={"time"}) for event in events] == [
        {"event": "gold_set", "round": 1, "agreed": 3, "labels": 4, "agreement": 0.75, "min_agreement": 0.75}
    ]
    stored = ShardTable(directory.path("gold_set"), VERDICTS)
    assert stored.prompt_ids() == {stored_id(label) for label in labels}
    assert GoldSetRecord.read(directory.path("gold_set.json")) == result


def test_a_judge_that_disagrees_with_people_stops_the_round_and_names_the_labels(directory: RoundDir) -> None:
    labels = [label("1"), label("2", "b"), label("tied", reference="$9 million"), label("silent", reference=None)]
    with pytest.raises(WorkError) as raised:
        judged(REFERENCE, labels, directory)
    message = str(raised.value)
    assert (
        "round 1: judge reference agrees with people on 1 of 4 labels of the gold set (0.250); at least 0.7 is required"
        in message
    )
    # Undecided labels count as disagreement.
    assert "2 (people b, judge a), tied (people a, judge tie), silent (people a, judge silent)" in message
    assert "Nothing was sampled or trained on" in message
    assert "\n" not in message
    assert json.loads(Path(directory.path("gold_set.json")).read_text())["by_outcome"] == {
        "ok": 2, "silent": 1, "tie": 1,
    }  # fmt: skip


def test_the_same_start_again_asks_nothing_and_fails_alike(directory: RoundDir) -> None:
    labels, judge = [label("1", "b"), label("2", "b")], Watched()
    messages = []
    for _ in range(2):
        with pytest.raises(WorkError) as raised:
            judged(judge, labels, directory)
        messages.append(str(raised.value))
    with pytest.raises(WorkError) as raised:
        check_stored(judge, labels, directory, 0.7)
    assert [*messages, str(raised.value)] == [messages[0]] * 3
    assert len(judge.asked) == 2
    # A changed label needs no new verdict.
    assert judged(judge, [label("1"), label("2")], directory).agreed == 2
    assert len(judge.asked) == 2


def test_an_unanswered_label_is_asked_again_and_an_answered_one_is_not(directory: RoundDir) -> None:
    labels, judge = [label(str(number)) for number in range(4)], Watched(failing={"2", "3"})
    with pytest.raises(WorkError, match=r"2 \(people a, judge error\), 3 \(people a, judge error\)"):
        judged(judge, labels, directory)
    assert {
        item["reason"] for item in json.loads(Path(directory.path("gold_set.json")).read_text())["disagreeing"]
    } == {"HTTP 503"}
    check_stored(judge, labels, directory, 0.7)  # Two of them have no verdict yet.
    judge.asked.clear()
    judge.failing.clear()
    assert judged(judge, labels, directory).agreed == 4
    assert [name.partition("@")[0] for name in judge.asked] == ["2", "3"]


def test_a_changed_label_is_asked_again(directory: RoundDir) -> None:
    judge = Watched()
    judged(judge, [label("1")], directory)
    changed = label("1").model_copy(update={"answer_a": "$7.0 million"})
    judged(judge, [changed], directory)
    assert len(set(judge.asked)) == 2


def test_answers_before_a_kill_are_kept(directory: RoundDir) -> None:
    class Killed(Watched):
        async def verdicts(self, prompt: Question, *rest: Any) -> list[Verdict]:
            if prompt.id.startswith("2@"):
                raise WorkError("the engine is gone")
            return await super().verdicts(prompt, *rest)

    labels = [label("1"), label("2")]
    with pytest.raises(WorkError, match="the engine is gone"):
        asyncio.run(judge_gold_set(Killed(), labels, directory, 0.7, progress=Silent(), emit=ignore_event, in_flight=1))
    judge = Watched()
    assert judged(judge, labels, directory).agreed == 2
    assert judge.asked == [stored_id(labels[1])]


def test_labels_without_a_preference_are_not_in_the_gold_set(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(labels_jsonl([label("1", "tie"), label("2"), label("3", "b")]))
    assert [item.id for item in load_gold_set(GoldSetSection(path=str(path)))] == ["2", "3"]
    assert [item.id for item in load_gold_set(GoldSetSection(path=str(path), limit=2))] == ["2"]
    assert load_gold_set(None) == ()
    with pytest.raises(UserError, match="people see a tie in every label"):
        load_gold_set(GoldSetSection(path=str(path), limit=1))
    with pytest.raises(UserError, match=r"none\.jsonl"):
        load_gold_set(GoldSetSection(path=str(tmp_path / "none.jsonl")))


BASE = """
policy: {model: m}
questions: {train: {type: demo}, heldout: {type: demo, split: heldout}}
judge: {name: reference, gold_set: %s}
"""


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{min_agreement: 0.5}", "judge.gold_set.path: missing"),
        ("{path: x, min_agreement: 0}", "judge.gold_set.min_agreement: expected greater than 0"),
        ("{path: x, min_agreement: 1.1}", "judge.gold_set.min_agreement: expected less than or equal to 1"),
        ("{path: x, limit: 0}", "judge.gold_set.limit: expected greater than or equal to 1"),
        ("{path: x, agreement: 1}", "judge.gold_set.agreement: unknown key"),
    ],
)
def test_a_wrong_gold_set_of_a_recipe_is_refused(section: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_recipe(BASE % section, "recipe.yaml")


def test_a_job_carries_its_gold_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, outside, job = tmp_path / "here", tmp_path / "outside.jsonl", tmp_path / "job"
    for folder in (here, job):
        folder.mkdir()
    monkeypatch.chdir(here)
    for path in (here / "own.jsonl", outside):
        path.write_bytes(labels_jsonl([label("1")]))
    for given, path in (("own.jsonl", "own.jsonl"), ("../outside.jsonl", "questions/gold-set-outside.jsonl")):
        moved = make_bundle(parse_recipe(BASE % f"{{path: {given}}}", "recipe.yaml"), job)
        assert moved.judge.gold_set is not None
        assert moved.judge.gold_set.path == path
        assert (job / path).read_bytes() == (here / given).read_bytes()
    with pytest.raises(UserError, match=r"none\.jsonl: no such file \(judge\.gold_set\.path\)"):
        make_bundle(parse_recipe(BASE % "{path: none.jsonl}", "recipe.yaml"), job)


def test_a_run_may_continue_with_another_gold_set() -> None:
    old = {"judge": {"name": "x", "gold_set": None}}
    assert differing_keys(old, {"judge": {"name": "x", "gold_set": {"path": "y", "min_agreement": 0.5}}}) == []


def test_a_round_that_is_sampled_ahead_stops_the_run_with_its_own_message(
    directory: RoundDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def train_policy(*_: object, **options: object) -> None:
        await asyncio.sleep(60)

    async def sample_ahead(self: object, following: RoundDir, current: object) -> None:
        await judge_gold_set(REFERENCE, [label("1", "b")], following, 0.7, progress=Silent(), emit=ignore_event)

    monkeypatch.setattr(loop, "train_policy", train_policy)
    monkeypatch.setattr(loop.RoundLoop, "_sample_ahead", sample_ahead)
    recipe = SimpleNamespace(rounds=SimpleNamespace(staleness=1, count=3), evaluation=SimpleNamespace(max_tokens=8))
    setup: Any = SimpleNamespace(recipe=recipe, heldout=[], judge=SimpleNamespace(sha="judge"))
    phase = SimpleNamespace(rounds=3, training=None, sampling=None)
    round_: Any = SimpleNamespace(number=1, phase=phase, objective=SimpleNamespace(samples=True, carries_state=False))
    nothing: Any = None
    rounds = loop.RoundLoop(
        setup, RunDir(str(Path(directory.root).parent)), nothing, nothing,
        judges=RoundJudges({"judge": REFERENCE}), progress=Silent(), emit=ignore_event, policy_check=nothing,
        on_step=lambda number, entry: None,
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"round 2: judge reference agrees .* It disagrees on 1 \(people b, judge a\)"):
        asyncio.run(rounds._train(directory, round_, PolicyWeights("base", "base")))


def test_the_page_shows_the_gold_set_of_each_round(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    SmallRun(root, prompts=4, heldout=4)
    run = RunDir(str(root))
    assert "Gold set" not in render_page(run)
    judged(REFERENCE, [label("1"), label("<b>2", "b")], run.round(0), 0.5)
    with pytest.raises(WorkError):
        judged(REFERENCE, [label("1", "b")], run.round(1))
    page = render_page(run)
    assert "Gold set" in page
    assert "<code>&lt;b&gt;2</code> people b, judge a" in page
    assert page.count("the round stopped") == 1
