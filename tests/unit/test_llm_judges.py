"""LLM judges that answer with a text or rate one answer; samples, principles, and panels that vote."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Decision, Judge, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.judges.rating import RewardModelSpec

PROMPT = Question("q1", "What were sales?", "Sales were $7 million.", gold_answer="$7 million")
PAIR = "{% block user %}\n{{ question }}\nA:\n{{ answer_a | quoted }}\nB:\n{{ answer_b | quoted }}\n{% endblock %}\n"
ONE = "{% block user %}\n{{ question }}\n{{ answer | quoted }}\n{% endblock %}\n"
LABEL = "kind: pairwise\nverdict: label\npattern: '\\[\\[([ABC])\\]\\]'\nchoices: [A, B]\ntie_choice: C\n"
BY_PRINCIPLE = PAIR.replace("A:\n", "By this: {{ principle }}\nA:\n", 1)


class Speaking:
    """Answers chats by a function of the prompt's text and the request, and labels by fixed log-probabilities."""

    identity = ""

    def __init__(self, speak: Callable[[str, ChatRequest], str], logprobs: Sequence[float] = ()) -> None:
        self.asked: list[list[ChatRequest]] = []
        self._speak, self._logprobs = speak, logprobs

    def vllm(self, model: str) -> "Speaking":
        """Serve every model."""
        return self

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.asked.append(list(requests))
        return [self._reply(request) for request in requests]

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        return [ChoiceReply(list(self._logprobs), 10, 1, 0.1) for _ in requests]

    def _reply(self, request: ChatRequest) -> ChatReply:
        text = self._speak(request.messages[-1]["content"], request)
        if text.startswith("FAIL"):
            return ChatReply("", "", 20, 0, 0.5, failure=text.removeprefix("FAIL "))
        cut = text.endswith("CUT")
        return ChatReply(text.removesuffix("CUT"), "length" if cut else "stop", 20, 5, 0.5)


def files(folder: Path, front: str, body: str, judge: str = "") -> LlmSpec:
    (folder / "p.md").write_text(f"---\n{front}---\n{body}", encoding="utf-8")
    (folder / "j.yaml").write_text(f"kind: llm\nprompt: ./p.md\n{judge}", encoding="utf-8")
    spec = load_judge_file(str(folder / "j.yaml"))
    assert isinstance(spec, LlmSpec)
    return spec


def asked(judge: Judge, answers: Sequence[str]) -> tuple[list[Verdict], list[Decision]]:
    verdicts = asyncio.run(judge.verdicts(PROMPT, answers))
    return verdicts, judge.decide(PROMPT.id, len(answers), verdicts)


def prefers(answer: str) -> Callable[[str, ChatRequest], str]:
    """Return the label under which an answer is shown."""
    return lambda text, request: f"I see. [[{'A' if text.index(f'| {answer}') < text.index('B:') else 'B'}]]"


def test_a_reasoning_judge_is_asked_in_both_orders_and_read_by_its_last_label(tmp_path: Path) -> None:
    backend = Speaking(prefers("seven"))
    spec = files(tmp_path, LABEL, PAIR, "max_tokens: 50")
    verdicts, (decision,) = asked(build_judge(spec, backend), ["seven", "eight"])
    assert [(v.order, v.status, v.preference, v.text) for v in verdicts] == [
        ("ab", "ok", 1.0, "I see. [[A]]"), ("ba", "ok", 1.0, "I see. [[B]]"),
    ]  # fmt: skip
    assert (verdicts[0].prompt_tokens, verdicts[0].completion_tokens, verdicts[0].seconds) == (20, 5, 0.5)
    assert (decision.status, decision.preference, decision.margin) == ("ok", 1.0, 1.0)
    ((request, _),) = backend.asked
    assert (request.max_tokens, request.temperature, request.seed, request.schema) == (50, 0.0, 0, None)


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ("I would rather not say.", "unparsed", "I would rather not say."),
        ("Both. [[C]]", "tie", "Both. [[C]]"),
        ("[[A]] might beCUT", "unparsed", "[[A]] might be\n[cut at 1024 tokens]"),
        ("FAIL 500 from the server", "error", "500 from the server"),
        ("| [[A]]", "unparsed", "| [[A]]"),
    ],
)
def test_an_unreadable_reply_is_kept_word_for_word_and_prefers_nothing(
    tmp_path: Path, said: str, status: str, text: str
) -> None:
    spec = files(tmp_path, LABEL, PAIR)
    verdicts, (decision,) = asked(build_judge(spec, Speaking(lambda *_: said)), ["x", "y"])
    assert {(v.status, v.preference, v.text) for v in verdicts} == {(status, None, text)}
    assert (decision.status, decision.preference) == (status, None)


def test_a_json_judge_asks_for_its_schema(tmp_path: Path) -> None:
    spec = files(tmp_path, "kind: pairwise\nverdict: json\n", PAIR)
    backend = Speaking(lambda text, request: '{"reason": "x", "choice": "A"}')
    verdicts, (decision,) = asked(build_judge(spec, backend), ["x", "y"])
    assert [verdict.preference for verdict in verdicts] == [1.0, 0.0]
    assert decision.status == "tie"
    assert '"choice"' in (backend.asked[0][0].schema or "")


def test_samples_are_verdicts_of_their_own_and_their_mean_decides(tmp_path: Path) -> None:
    spec = files(tmp_path, LABEL, PAIR, "temperature: 0.7\nsamples: 3\nseed: 10\nswap_positions: false")
    said = {10: "[[A]]", 11: "hm", 12: "[[A]]"}
    backend = Speaking(lambda text, request: said[request.seed])
    verdicts, (decision,) = asked(build_judge(spec, backend), ["x", "y"])
    assert [(verdict.status, verdict.order) for verdict in verdicts] == [("ok", "ab"), ("unparsed", "ab"), ("ok", "ab")]
    assert (decision.status, decision.preference) == ("ok", 1.0)
    said |= {11: "[[B]]"}
    _, (decision,) = asked(build_judge(spec, backend), ["x", "y"])
    assert (decision.status, decision.preference) == ("ok", pytest.approx(2 / 3))
    said |= {11: "[[C]]", 12: "[[B]]"}
    assert asked(build_judge(spec, backend), ["x", "y"])[1][0].status == "tie"
    said |= {11: "FAIL gone", 12: "hm"}
    assert asked(build_judge(spec, backend), ["x", "y"])[1][0].status == "error"


def test_identical_answers_tie_with_any_samples(tmp_path: Path) -> None:
    spec = files(tmp_path, LABEL, PAIR, "temperature: 1\nsamples: 5")
    _, (decision,) = asked(build_judge(spec, Speaking(lambda *_: "[[A]]")), ["x", " x"])
    assert decision.status == "tie"


@settings(deadline=None, max_examples=50)
@given(
    said=st.lists(st.sampled_from(["[[A]]", "[[B]]", "[[C]]", "hm", "FAIL"]), min_size=6, max_size=6), data=st.data()
)
def test_samples_decide_alike_in_any_order_and_exactly_in_reverse_when_swapped(
    said: list[str], data: st.DataObject
) -> None:
    def verdicts(swapped: bool) -> list[Verdict]:
        found = []
        for index, text in enumerate(said):
            status = {"hm": "unparsed", "FAIL": "error", "[[C]]": "tie"}.get(text, "ok")
            order = "ab" if (index < 3) != swapped else "ba"
            value = {"[[A]]": 0.8, "[[B]]": 1.0 - 0.8}.get(text)
            preference = value if value is None or not swapped else 1.0 - value
            found.append(
                Verdict("q1", 0, 1, status, preference, None, "", "j", judge.sha, order=order)  # type: ignore[arg-type]
            )
        return found

    judge = build_judge(load_judge_file("finance-grounded"), Speaking(lambda *_: ""))
    (straight,) = judge.decide("q1", 2, data.draw(st.permutations(verdicts(False))))
    (turned,) = judge.decide("q1", 2, verdicts(True))
    assert (turned.status, turned.margin) == (straight.status, straight.margin)
    if straight.preference is not None:
        assert turned.preference == 1.0 - straight.preference


def test_a_rating_judge_rates_each_distinct_answer_once_and_prefers_the_higher(tmp_path: Path) -> None:
    spec = files(tmp_path, "kind: pointwise\nverdict: score\nscale: [1, 5]\n", ONE)
    ratings = {"x": "4", "y": "2 out of 5", "z": "9"}
    backend = Speaking(lambda text, request: f"I give {ratings[text[-1]]}")
    verdicts, decisions = asked(build_judge(spec, backend), ["x", "y", "x ", "z"])
    assert [(v.first, v.second, v.order, v.status, v.score, v.prompt_tokens) for v in verdicts] == [
        (0, None, "single", "ok", 4.0, 20), (1, None, "single", "ok", 2.0, 20),
        (2, None, "single", "ok", 4.0, 0), (3, None, "single", "unparsed", None, 20),
    ]  # fmt: skip
    assert [(d.first, d.second, d.status, d.preference, d.margin) for d in decisions] == [
        (0, 1, "ok", 1.0, 2.0), (0, 2, "tie", None, None), (0, 3, "unparsed", None, None),
        (1, 2, "ok", 0.0, 2.0), (1, 3, "unparsed", None, None), (2, 3, "unparsed", None, None),
    ]  # fmt: skip
    assert len(backend.asked[0]) == 3


def test_only_the_candidates_of_the_comparisons_are_rated(tmp_path: Path) -> None:
    judge = build_judge(
        files(tmp_path, "kind: pointwise\nverdict: json\nscale: [0, 10]\n", ONE),
        Speaking(lambda *_: '{"reason": "", "score": 7}'),
    )
    verdicts = asyncio.run(judge.verdicts(PROMPT, ["x", "y", "z"], [(0, 2)]))
    assert [(verdict.first, verdict.score) for verdict in verdicts] == [(0, 7.0), (2, 7.0)]


def test_a_one_token_rating_is_the_mean_of_its_scale(tmp_path: Path) -> None:
    spec = files(tmp_path, "kind: pointwise\nverdict: logprob\nscale: [1, 3]\n", ONE)
    verdicts, _ = asked(build_judge(spec, Speaking(lambda *_: "", [-1.0, -1.0, -1.0])), ["x", "y"])
    assert [verdict.score for verdict in verdicts] == [2.0, 2.0]
    assert verdicts[0].text == "neither (1 -1.0000, 2 -1.0000, 3 -1.0000)"


def test_one_principle_is_drawn_for_a_comparison_the_same_in_both_orders_and_recorded(tmp_path: Path) -> None:
    spec = files(tmp_path, LABEL, BY_PRINCIPLE, "principles: [Be brief., Be right., Be kind.]\nseed: 3")
    backend = Speaking(lambda text, request: "[[C]]")
    answers = [*(f"answer {index}" for index in range(12)), "half \ud800"]
    verdicts, _ = asked(build_judge(spec, backend), answers)
    by_pair: dict[tuple[int, int | None], set[str]] = {}
    for verdict in verdicts:
        by_pair.setdefault((verdict.first, verdict.second), set()).add(verdict.text)
    assert all(len(texts) == 1 for texts in by_pair.values())
    drawn = [text for texts in by_pair.values() for text in texts]
    assert set(drawn) == {f"[principle: {principle}]\n[[C]]" for principle in spec.all_principles}
    shown = [request.messages[-1]["content"] for request in backend.asked[0]]
    assert all(any(f"By this: {principle}\n" in text for principle in spec.all_principles) for text in shown)
    again, _ = asked(build_judge(spec, backend), answers[::-1])
    assert sorted(verdict.text for verdict in again) == sorted(verdict.text for verdict in verdicts)
    other = files(tmp_path, LABEL, BY_PRINCIPLE, "principles: [Be brief., Be right., Be kind.]\nseed: 4")
    assert [v.text for v in asked(build_judge(other, backend), answers)[0]] != [v.text for v in verdicts]


def test_principles_come_from_a_file_with_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\nBe brief.\n\n  Be right.  \n", encoding="utf-8")
    spec = files(tmp_path, LABEL, BY_PRINCIPLE, "principles_file: mine.txt")
    assert spec.all_principles == ("Be brief.", "Be right.")
    assert ("judges", tmp_path / "mine.txt") in spec.files
    listed = files(tmp_path, LABEL, BY_PRINCIPLE, "principles: [Be brief., Be right.]")
    assert listed.sha == spec.sha


@pytest.mark.parametrize(
    ("front", "body", "judge", "message"),
    [
        (LABEL, PAIR, "samples: 3", "j.yaml:3: samples: at temperature 0 all samples are the same"),
        (LABEL, PAIR, "temperature: null", "j.yaml:3: temperature: null is the endpoint's own"),
        (LABEL, PAIR, "seed: 1", "j.yaml:3: seed: has no effect: set a temperature above 0, or give principles"),
        (LABEL, BY_PRINCIPLE, "", "j.yaml:1: principles: "),
        (LABEL, BY_PRINCIPLE, "principles: [x, x]", "j.yaml:3: principles: one is empty or repeated"),
        (
            LABEL, BY_PRINCIPLE, "principles: [x]\nprinciples_file: p.md",
            "j.yaml:4: principles_file: principles is given too",
        ),
        ("kind: pointwise\nverdict: score\nscale: [1, 5]\n", ONE, "swap_positions: true", "j.yaml:3: swap_positions: "),
        (
            "kind: pairwise\nverdict: logprob\nchoices: [A, B]\nprefix: 'I say '\n", PAIR,
            "backend: {type: openai, model: m}", "j.yaml:3: backend: ",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_together_are_refused(
    tmp_path: Path, front: str, body: str, judge: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        files(tmp_path, front, body, judge)
    assert str(error.value).replace(f"{tmp_path}/", "").startswith(message)


def test_the_sha_depends_on_what_decides_a_text_judges_verdicts(tmp_path: Path) -> None:
    openai = "temperature: 0.5\nbackend:\n  type: openai\n  model: m\n"
    base = files(tmp_path, LABEL, PAIR, openai).sha
    same = [
        "  concurrency: 2",
        "  timeout: 5\n  retries: 0",
        "  prices: {prompt: 1, completion: 2}",
        "  api_key_env: K",
    ]
    for change in same:
        assert files(tmp_path, LABEL, PAIR, openai + change).sha == base
    assert (
        files(tmp_path, LABEL, PAIR, openai + "seed: 0\nsamples: 1\nmax_tokens: 1024\nswap_positions: true").sha == base
    )
    for change in [
        "  base_url: http://localhost:1/v1",
        "seed: 1",
        "samples: 2",
        "max_tokens: 9",
        "swap_positions: false",
    ]:
        assert files(tmp_path, LABEL, PAIR, openai + change).sha != base
    assert files(tmp_path, LABEL, PAIR, openai.replace("0.5", "0.6")).sha != base
    assert files(tmp_path, LABEL, PAIR, openai + "  base_url: https://api.openai.com/v1/").sha == base


def test_an_endpoints_judge_needs_no_engine_and_its_key_is_written_nowhere(tmp_path: Path) -> None:
    spec = files(tmp_path, LABEL, PAIR, "backend: {type: openai, model: m, prices: {prompt: 2, completion: 10}}")
    assert (spec.models, spec.answer_tokens) == (frozenset(), 0)
    assert spec.prices is not None
    assert spec.prices.cost(1_000_000, 500_000) == 7.0
    assert spec.describe()["base_url"] == "https://api.openai.com/v1"


def test_a_voting_panel_is_built_of_its_files(tmp_path: Path) -> None:
    files(tmp_path, LABEL, PAIR)
    (tmp_path / "panel.yaml").write_text(
        "kind: panel\nmode: majority\njudges: [./j.yaml, reference]\n", encoding="utf-8"
    )
    panel = load_judge_file(str(tmp_path / "panel.yaml"))
    assert panel.models == {"policy"}
    assert panel.answer_tokens == 1024
    assert {path.name for _, path in panel.files} == {"panel.yaml", "j.yaml", "p.md", "reference.yaml"}
    _, (decision,) = asked(build_judge(panel, Speaking(prefers("$7"))), ["$7 million", "$8 million"])
    assert (decision.status, decision.preference, decision.judge) == ("ok", 1.0, "panel")


def test_a_reward_models_sha_depends_on_the_model_and_the_template(tmp_path: Path) -> None:
    path = tmp_path / "rm.yaml"
    path.write_text("kind: reward-model\nmodel: some/model\n", encoding="utf-8")
    spec = load_judge_file(str(path))
    assert isinstance(spec, RewardModelSpec)
    assert spec.models == frozenset()
    path.rename(tmp_path / "x.yaml")
    assert load_judge_file(str(tmp_path / "x.yaml")).sha == spec.sha
    assert spec.model_copy(update={"batch_size": 3, "device": "cpu"}).sha == spec.sha
    assert spec.model_copy(update={"model": "other/model"}).sha != spec.sha


def test_a_reward_model_in_a_directory_is_identified_by_its_weights(tmp_path: Path) -> None:
    """Another model at the same path is another judge; a moved model is the same judge."""
    folder, elsewhere = tmp_path / "rewards", tmp_path / "moved"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"trained once")
    path = tmp_path / "rm.yaml"
    path.write_text(f"kind: reward-model\nmodel: {folder}\n", encoding="utf-8")
    spec = load_judge_file(str(path))
    assert isinstance(spec, RewardModelSpec)
    first = spec.sha
    folder.rename(elsewhere)
    assert spec.model_copy(update={"model": str(elsewhere)}).sha == first
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"trained again")
    assert spec.sha != first
