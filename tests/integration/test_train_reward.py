"""A reward model's training: its data, its split, its steps, and the saved model as a judge."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.labels import Label, labels_jsonl
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.evaluation.heldout_pairs import score_chats, tally
from rlaif.judges.build import build_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.reward_scores import Reward, RewardModel
from rlaif.models.chat_template import ChatTemplate
from rlaif.models.resolve import weights_id
from rlaif.preferences.reward_pairs import RewardPair, read_pairs
from rlaif.prompts.quoting import conversation
from rlaif.prompts.template import load_template
from rlaif.recipe import TrainersSection, parse_overrides
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.store.schemas import PAIRS
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.models import load_classifier
from rlaif.training.reward.pairs import encode_pairs, held_out
from rlaif.training.reward.preparation import pairs_sha
from rlaif.training.reward.train import RewardResult, RewardSettings, train_reward_model
from tests.tiny import save_chat_model
from tests.workers import in_workers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ANSWER = load_template("answer")
GOOD, BAD = ("seven", "eight", "nine"), ("none", "maybe", "unknown")
WORDS = ["Question:", "question", *GOOD, *BAD, *(f"w{n}" for n in range(40))]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_chat_model(tmp_path_factory.mktemp("base"), WORDS)


def label(number: int, human: str = "a", **more: Any) -> Label:
    sides = (GOOD[number % 3], BAD[number % 3])
    first, second = sides if human != "b" else sides[::-1]
    given = {"id": f"l{number}", "question": f"question w{number % 20}", "context": f"w{number % 40} w1 w2"}
    return Label(**{**given, "answer_a": first, "answer_b": second, "human": human, **more})


def labels(count: int) -> list[Label]:
    return [label(number, "ab"[number % 2]) for number in range(count)]


def write(folder: Path, given: list[Label]) -> str:
    path = folder / "labels.jsonl"
    path.write_bytes(labels_jsonl(given))
    return str(path)


def job(folder: Path, base: str, pairs: list[RewardPair], *overrides: str) -> TrainingJob[RewardTrainingSection]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    rows = encode_pairs(pairs, tokenizer, 128).rows
    write_table(str(folder / "pairs.parquet"), pa.Table.from_pylist(rows))
    settings = parse_overrides(RewardSettings, overrides)
    return TrainingJob(
        start=StartingWeights(base, settings.revision, settings.dtype), rows=str(folder / "pairs.parquet"),
        out=str(folder / "model"), settings=settings.training, seed=settings.seed, gpu=False,
        workers=settings.cluster.training,
    )  # fmt: skip


def trained(folder: Path, base: str, pairs: list[RewardPair], *overrides: str) -> RewardResult:
    return train_reward_model(job(folder, base, pairs, *overrides), Worker())


def test_labels_become_pairs_and_ties_are_counted(tmp_path: Path) -> None:
    read = read_pairs(write(tmp_path, [label(0), label(1, "b"), label(2, "tie")]), ANSWER)
    assert (read.form, read.ties, len(read.labels)) == ("labels", 1, 3)
    assert [(pair.id, pair.chosen, pair.rejected, pair.source) for pair in read.pairs] == [
        ("l0", "seven", "none", "human"), ("l1", "eight", "maybe", "human"),
    ]  # fmt: skip
    chosen, rejected = read.pairs[0].conversations()
    assert chosen[:-1] == rejected[:-1] == ANSWER.render(question="question w0", context="w0 w1 w2")
    assert (chosen[-1], rejected[-1]["content"]) == ({"role": "assistant", "content": "seven"}, "none")
    with pytest.raises(UserError, match="people see a tie in every label"):
        read_pairs(write(tmp_path, [label(2, "tie")]), ANSWER)


def test_a_preferred_answer_that_is_thinking_without_an_end_is_left_out_by_name(tmp_path: Path) -> None:
    unfinished = label(1, "b", answer_b="<think>eight or")
    read = read_pairs(write(tmp_path, [label(0), unfinished]), ANSWER)
    assert ([pair.id for pair in read.pairs], read.unfinished) == (["l0"], ("l1",))
    with pytest.raises(UserError, match="every preferred answer is thinking without an end"):
        read_pairs(write(tmp_path, [unfinished]), ANSWER)


def test_a_runs_pairs_and_text_preferences_are_read(tmp_path: Path) -> None:
    chat = ANSWER.render(question="question w1", context="w2 w3")
    row = {
        **dict.fromkeys(PAIRS.names), "pair_id": "p", "prompt": chat, "source": "ai",
        "chosen": [{"role": "assistant", "content": "seven"}], "rejected": [{"role": "assistant", "content": "none"}],
    }  # fmt: skip
    write_table(str(tmp_path / "pairs.parquet"), pa.Table.from_pylist([row], schema=PAIRS))
    read = read_pairs(str(tmp_path / "pairs.parquet"), ANSWER)
    (pair,) = read.pairs
    assert (read.form, pair.source, read.labels) == ("preferences", "ai", ())
    assert pair.conversations()[0] == [*chat, {"role": "assistant", "content": "seven"}]
    # A prompt that is a text is a question; the template makes the chat.
    text = tmp_path / "texts.jsonl"
    text.write_text(json.dumps({"prompt": "question w1", "chosen": " seven", "rejected": " none"}) + "\n")
    (pair,) = read_pairs(str(text), ANSWER).pairs
    assert pair.conversations()[1] == [
        *ANSWER.render(question="question w1"), {"role": "assistant", "content": "none"}
    ]  # fmt: skip


def test_an_answer_of_several_turns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    turns = [{"role": role, "content": role[0]} for role in ("assistant", "user", "assistant")]
    row = {"id": "x", "prompt": [{"role": "user", "content": "q"}], "chosen": turns, "rejected": turns[:1]}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="1 whose answer is more than one turn"):
        read_pairs(str(path), ANSWER)


@given(
    questions=st.lists(st.text(max_size=8), min_size=2, max_size=40),
    share=st.floats(0.0, 0.5),
    seed=st.integers(0, 5),
)
def test_the_split_is_of_questions_and_the_same_in_any_order(questions: list[str], share: float, seed: int) -> None:
    distinct = set(questions)
    if len(distinct) < 2:
        return
    out = held_out(questions, share, seed)
    assert out <= distinct
    assert out == held_out(reversed(questions), share, seed) == held_out(distinct, share, seed)
    assert len(out) == (max(1, round(share * len(distinct))) if share > 0 else 0)


def test_a_split_without_training_questions_is_refused() -> None:
    with pytest.raises(UserError, match="all 1 questions would be held out"):
        held_out(["q", "q"], 0.2, 0)
    assert held_out(["q"], 0.0, 0) == frozenset()


@given(
    length=st.integers(0, 60),
    answers=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    limit=st.integers(10, 50),
)
@settings(max_examples=60, deadline=None)
def test_a_context_loses_its_beginning_and_no_more_than_necessary(
    base: str, length: int, answers: tuple[int, int], limit: int
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    context = " ".join(f"w{n % 40}" for n in range(length))
    chosen, rejected = (" ".join(["seven"] * count) for count in answers)
    pair = RewardPair(
        "x", "q", context, lambda text: ANSWER.render(question="w1", context=text), chosen, rejected, "human"
    )
    template = ChatTemplate(tokenizer)
    whole = [template.conversation_ids(chat) for chat in pair.conversations()]
    bare = [template.conversation_ids(chat) for chat in pair.conversations("")]
    encoded = encode_pairs([pair], tokenizer, limit)
    if max(map(len, whole)) <= limit:
        assert (encoded.cut, encoded.too_long) == ([], [])
        assert [encoded.rows[0]["chosen_ids"], encoded.rows[0]["rejected_ids"]] == whole
    elif max(map(len, bare)) > limit:
        assert (encoded.rows, encoded.too_long) == ([], ["x"])
    else:
        assert (encoded.cut, encoded.too_long) == (["x"], [])
        rows = [encoded.rows[0]["chosen_ids"], encoded.rows[0]["rejected_ids"]]
        # With one token a word the cut is exact; both answers are whole and see the same question.
        assert max(map(len, rows)) == limit
        assert [len(one) - len(two) for one, two in zip(whole, rows, strict=True)] == [max(map(len, whole)) - limit] * 2
        assert [ids[-3:] for ids in rows] == [ids[-3:] for ids in whole]


def test_an_answer_cannot_end_its_turn() -> None:
    chat = conversation([{"role": "user", "content": "q"}], "seven<|im_end|>\n<|im_start|>user")
    assert "<|im_end|>" not in chat[-1]["content"]


@pytest.mark.parametrize("overrides", [[], ["training.lora.rank=4", "training.lora.alpha=16"]])
def test_the_trained_model_is_a_judge_that_prefers_as_people_do(
    tmp_path: Path, base: str, overrides: list[str]
) -> None:
    read = read_pairs(write(tmp_path, labels(64)), ANSWER)
    result = trained(
        tmp_path, base, list(read.pairs), "training.epochs=8", "training.learning_rate=0.01", *overrides
    )  # fmt: skip
    model = str(tmp_path / "model")
    assert (result.pairs, result.steps, len(result.log)) == (64, 32, 32)
    assert result.log[-1]["loss"] < 0.4 < result.log[0]["loss"]
    assert result.model_id == weights_id(model)
    assert set(result.files) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "model" / "training_args.bin").exists()
    judge_file = tmp_path / "judge.yaml"
    judge_file.write_text(f"kind: reward-model\nmodel: {model}\ndevice: cpu\n")
    judge = build_judge(load_judge_file(str(judge_file)), None)  # type: ignore[arg-type]
    verdicts = asyncio.run(judge.verdicts(Question("q", "question w3", "w33 w1 w2"), ["maybe", "nine"]))
    (decision,) = judge.decide("q", 2, verdicts)
    assert (decision.status, (decision.preference or 1.0) < 0.3) == ("ok", True)


def test_the_judge_scores_the_tokens_that_were_trained_on(tmp_path: Path, base: str) -> None:
    read = read_pairs(write(tmp_path, labels(4)), ANSWER)
    trained(tmp_path, base, list(read.pairs))
    folder = str(tmp_path / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = encode_pairs(read.pairs, transformers.AutoTokenizer.from_pretrained(folder), 128).rows
    with torch.no_grad():
        ids = [row[side] for row in rows for side in ("chosen_ids", "rejected_ids")]
        expected = [model(input_ids=torch.tensor([one])).logits[0, 0].item() for one in ids]
    chats = [chat for pair in read.pairs for chat in pair.conversations()]
    rewards = asyncio.run(RewardModel(folder, 3, "cpu").rewards(chats))
    assert [reward.score for reward in rewards] == pytest.approx(expected, abs=1e-5)
    assert [reward.tokens for reward in rewards] == list(map(len, ids))
    threads = torch.get_num_threads()
    assert [reward.score for reward in score_chats(folder, chats, False, batch_size=4, threads=1)] == pytest.approx(
        expected, abs=1e-5
    )
    torch.set_num_threads(threads)


def test_the_size_of_a_forward_pass_changes_memory_and_not_the_result(tmp_path: Path, base: str) -> None:
    read = read_pairs(write(tmp_path, labels(16)), ANSWER)
    logs = []
    for size in (1, 8):
        folder = tmp_path / str(size)
        folder.mkdir()
        result = trained(
            folder, base, list(read.pairs), "training.pairs_per_step=8", f"training.pairs_per_pass={size}",
            "training.learning_rate=0.001",
        )  # fmt: skip
        logs.append(result.log)
    for one, other in zip(*logs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def train_sharded(rank: int, jobs: list[TrainingJob[RewardTrainingSection]], folder: Path) -> None:
    results = [train_reward_model(job, Worker(rank, 2)) for job in jobs]
    if rank == 0:
        torch.save(results, folder / "results.pt")


def test_two_workers_that_share_a_model_train_it_as_one_does(tmp_path: Path, base: str) -> None:
    """Full weights and an adapter, which trains the new output too."""
    pairs = list(read_pairs(write(tmp_path, labels(16)), ANSWER).pairs)
    overrides = ["dtype=float32", "training.pairs_per_step=8", "training.learning_rate=0.001"]
    alone, jobs = [], []
    for name, more in {"full": [], "adapter": ["training.lora.rank=4"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        alone.append(trained(folder, base, pairs, *overrides, *more))
        sharing = job(folder, base, pairs, *overrides, *more)
        section = TrainersSection(workers=2, strategy="fsdp")
        jobs.append(replace(sharing, workers=section, out=str(folder / "shared")))
    in_workers(train_sharded, 2, jobs, tmp_path)
    for one, both, sharing in zip(alone, torch.load(tmp_path / "results.pt", weights_only=False), jobs, strict=True):
        assert [entry["loss"] for entry in both.log] == pytest.approx([entry["loss"] for entry in one.log], abs=1e-4)
        folders = str(Path(sharing.out).with_name("model")), sharing.out
        expected, model = map(transformers.AutoModelForSequenceClassification.from_pretrained, folders)
        for name, weight in expected.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pad", ["<pad>", "<end>", None])
def test_training_reads_a_reward_at_the_last_token_whatever_pads_a_batch(
    tmp_path: Path, base: str, pad: str | None
) -> None:
    """The chat template ends each turn with the end token; the pairs differ in length, so that a batch is padded."""
    folder = str(shutil.copytree(base, tmp_path / "base"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = pad
    tokenizer.save_pretrained(folder)
    read = read_pairs(write(tmp_path, [label(0), label(1, answer_b="no w1 w2 w3 w4"), label(2)]), ANSWER)
    rows = encode_pairs(read.pairs, tokenizer, 128).rows
    assert {row["chosen_ids"][-1] for row in rows} == {tokenizer.eos_token_id}
    transformers.set_seed(0)
    start = load_classifier(folder, "float32").eval()

    def reward(model: Any, ids: list[int]) -> Any:
        with torch.no_grad():
            return model.score(model.model(torch.tensor([ids])).last_hidden_state)[0, -1, 0]

    margins = torch.stack([reward(start, row["chosen_ids"]) - reward(start, row["rejected_ids"]) for row in rows])
    result = trained(
        tmp_path, folder, list(read.pairs), "training.pairs_per_step=3", "training.pairs_per_pass=3",
        "training.learning_rate=0.01",
    )  # fmt: skip
    assert result.log[0]["loss"] == pytest.approx(float(-torch.nn.functional.logsigmoid(margins).mean()), abs=1e-5)
    # The saved model, called as transformers' users call it, reads its rewards there too.
    saved = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    padded = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
    batch = padded.pad({"input_ids": ids}, return_tensors="pt")
    with torch.no_grad():
        found = saved(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    assert found.tolist() == pytest.approx([float(reward(saved, each)) for each in ids], abs=1e-5)


def test_held_out_pairs_are_right_only_where_the_chosen_answer_scores_higher(tmp_path: Path) -> None:
    pairs = list(read_pairs(write(tmp_path, labels(4)), ANSWER).pairs)
    scores = [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0), (None, 1.0)]
    rewards = [
        Reward(score, 5, 0.0, None if score is not None else "too long") for pair in scores for score in pair
    ]  # fmt: skip
    measured = tally(pairs, rewards, pairs_sha(pairs))
    assert (measured.questions, measured.pairs, measured.right, measured.tied) == (4, 4, 1, 1)
    assert (measured.failed, measured.accuracy) == (["l3"], 0.25)


def test_the_hash_of_pairs_depends_on_their_texts_and_order(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, labels(2)), ANSWER).pairs
    assert pairs_sha(pairs) == pairs_sha(read_pairs(write(tmp_path, labels(2)), ANSWER).pairs)
    assert pairs_sha(pairs) != pairs_sha(pairs[::-1])
    assert pairs_sha(pairs) != pairs_sha(read_pairs(write(tmp_path, [label(0), label(1)]), ANSWER).pairs[:1])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.beta=1", "training.beta: unknown key"),
        ("training.pairs_per_step=6", r"training.pairs_per_step \(6\) is not a multiple of"),
        ("training.max_length=2", "training.max_length: expected greater than or equal to 16"),
        ("policy.model=x", "policy: unknown key"),
    ],
)
def test_wrong_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"--set: {message}"):
        parse_overrides(RewardSettings, [override])


def test_workers_share_a_step() -> None:
    overrides = ["cluster.training.workers=2", "training.pairs_per_step=8"]
    assert parse_overrides(RewardSettings, overrides).cluster.training.workers == 2
    with pytest.raises(UserError, match=r"times cluster\.training\.workers \(3\)"):
        parse_overrides(RewardSettings, ["cluster.training.workers=3"])


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["train-reward", *arguments, "--json"])
    assert (done.exit_code, done.stdout) == (2, "")
    return str(done.stderr)


def test_the_command_refuses_before_anything_starts(tmp_path: Path, base: str) -> None:
    good, out = write(tmp_path, labels(4)), str(tmp_path / "out")
    model = ("--model", base)
    assert f"{tmp_path}: already exists" in refused(good, "-o", str(tmp_path), *model)
    assert "none.jsonl: no such file" in refused(str(tmp_path / "none.jsonl"), "-o", out, *model)
    assert "no such directory" in refused(good, "-o", out, "--model", "./nowhere")
    assert "--prompt expects kind answer" in refused(good, "-o", out, *model, "--prompt", "finance-grounded")
    assert "training.x: unknown key" in refused(good, "-o", out, *model, "--set", "training.x=1")
    one = write(tmp_path, [label(0)])
    assert "all 1 questions would be held out" in refused(one, "-o", out, *model)
    assert not Path(out).exists()
