"""A small, complete run directory in the store's real schemas, for tests of its readers.

Two rounds: policy 1 was promoted, policy 2 was not. The judge is a panel of the exact check and a model.
"""

import hashlib
import json
import random
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlaif.io.files import write_bytes
from rlaif.preferences.pairs import pair_id
from rlaif.stats.bootstrap import mean_interval, paired_difference, win_rate
from rlaif.store.policy_weights import Probe, ProbeSequence
from rlaif.store.records.round_records import (
    STAGES,
    BaseModelRecord,
    EvaluateStage,
    EvaluationRecord,
    GateResult,
    JudgeStage,
    PairsStage,
    PolicyRecord,
    PromoteStage,
    SampleStage,
    Stage,
    TrainStage,
)
from rlaif.store.records.run_records import GitState, InitialPolicy, JudgeRecord, QuestionSet, RunRecord
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import CANDIDATES, FAILURES, PAIRS, VERDICTS
from rlaif.store.shards import ShardTable, write_table

BASE = hashlib.sha256(b"base").hexdigest()
REFERENCE_SHA, MODEL_SHA, PROMPT_SHA = (hashlib.sha256(name).hexdigest() for name in (b"exact", b"model", b"prompt"))
HOSTILE = "<script>alert('x')</script> \x1b[31mred\x1b[0m [bold]no markup[/bold]"
CANDIDATES_EACH, SHARD = 4, 8

_STRINGS = ("id", "question", "context", "reference", "doc_link")
_QUESTIONS = pa.schema([(name, pa.string()) for name in _STRINGS])
_VALUES = {name: pa.float64() for name in ("score", "f1")} | {"exact": pa.bool_(), "tokens": pa.int64()}
_ANSWER_COLUMNS = (*_STRINGS[:4], "answer", "score", "exact", "f1", "tokens", "failure")
_ANSWERS = pa.schema([(name, _VALUES.get(name, pa.string())) for name in _ANSWER_COLUMNS])


def policy_id(number: int) -> str:
    """Return the id of a policy's weights."""
    return BASE if number == 0 else hashlib.sha256(f"policy {number}".encode()).hexdigest()


class SmallRun:
    """Writes a run directory.

    Args:
        root: its folder.
        prompts: training questions a round.
        heldout: held-out questions.
        references: whether the questions have a gold answer.
        rounds: rounds to write, all stages done.
    """

    def __init__(
        self, root: Path, prompts: int = 20, heldout: int = 24, references: bool = True, rounds: int = 2, seed: int = 0
    ) -> None:
        self.run = RunDir(str(root))
        self.draw = random.Random(seed)
        self.references = references
        self.clock = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
        self.pair_ids: list[str] = []
        self.train = [self._question(f"train-{index:03d}") for index in range(prompts * rounds + rounds)]
        self.heldout = [self._question(f"heldout-{index:03d}") for index in range(heldout)]
        self._identity(rounds)
        self._event("begin", rounds=rounds)
        self._stage("evaluate", None, 21)
        self.first = self._evaluate("initial", 0, None)
        for number in range(rounds):
            self._round(number, self.train[number * (prompts + 1) : (number + 1) * (prompts + 1)])
        self._event("finished", reason=None)
        self.run.set_state("finished")

    def _question(self, name: str) -> dict[str, Any]:
        year, company = (
            self.draw.randint(2019, 2024),
            self.draw.choice(["Ardent Mills", "Borealis AG", "Calder & Sons"]),
        )
        value = self.draw.randint(100, 9000) / 10
        return {
            "id": name,
            "question": f"What was the net revenue of {company} in {year}?",
            "context": f"{company}, annual report. Net revenue in {year} was ${value} million. "
            + "Other matters follow. " * 40,
            "reference": f"${value} million" if self.references else None,
            "doc_link": None,
        }

    def _identity(self, rounds: int) -> None:
        members = [
            {"name": "reference", "kind": "reference", "sha": REFERENCE_SHA, "tolerance": 0.005},
            {
                "name": "finance-grounded", "kind": "llm", "sha": MODEL_SHA, "prompt": "finance-grounded",
                "prompt_sha": PROMPT_SHA, "model": "policy", "orders": "both",
            },
        ]  # fmt: skip
        recipe = f"name: {Path(self.run.root).name}\nrounds:\n  count: {rounds}\nevaluation:\n  confidence: 0.95\n"
        self.run.write_recipe(recipe)
        judge = {"name": "finance-panel", "kind": "panel", "sha": "9" * 64, "members": members}
        self.run.write_record(
            RunRecord(
                name=Path(self.run.root).name,
                rlaif="0.1.0",
                created=self.clock.isoformat(),
                versions={"python": "3.11.4", "vllm": "0.32.0", "torch": "2.13.0"},
                git=GitState(commit="58cde70" * 5, dirty=True),
                seed=7,
                policy=InitialPolicy(model="builtin:smollm2-135m", id=BASE, template="answer", template_sha=PROMPT_SHA),
                judge=JudgeRecord.model_validate(judge),
                questions={
                    "train": QuestionSet(count=len(self.train), sha="a" * 64),
                    "heldout": QuestionSet(count=len(self.heldout), sha="b" * 64),
                },
                state="running",
            )
        )
        for name, rows in (("train", self.train), ("heldout", self.heldout)):
            write_table(self.run.path("prompts", f"{name}.parquet"), pa.Table.from_pylist(rows, schema=_QUESTIONS))

    def _event(self, event: str, seconds: float = 0.0, **fields: Any) -> None:
        self.clock += timedelta(seconds=seconds)
        with open(self.run.path("events.jsonl"), "a", encoding="utf-8") as file:
            file.write(
                json.dumps({"time": self.clock.isoformat(timespec="milliseconds"), "event": event, **fields}) + "\n"
            )

    def _stage(self, stage: str, number: int | None, seconds: float) -> None:
        self._event("stage_started", stage=stage, round=number, seconds=0.4)
        self._event("stage_done", seconds=seconds, stage=stage, round=number)

    def _round(self, number: int, questions: list[dict[str, Any]]) -> None:
        directory = self.run.round(number)
        candidates = ShardTable(directory.path("candidates"), CANDIDATES)
        verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
        pairs: list[dict[str, Any]] = []
        *sampled, failed = questions
        decided = Counter[str]()
        for start in range(0, len(sampled), SHARD):
            shard = sampled[start : start + SHARD]
            rows = [row for question in shard for row in self._candidates(question, number)]
            candidates.append(rows)
            judged = [row for question in shard for row in self._verdicts(question)]
            verdicts.append(judged)
            for question in shard:
                pairs += self._pairs(question, rows, judged, number, decided)
        reason = "the prompt has 2210 tokens and leaves no room for an answer in 2048"
        failures = [{"prompt_id": failed["id"], "stage": "sample", "reason": reason, "attempts": 1}]
        ShardTable(directory.path("failures"), FAILURES).append(failures)
        sampler = policy_id(number)
        directory.mark(SampleStage(policy=sampler, questions=len(questions), failed=1, candidates=candidates.rows()))
        directory.mark(JudgeStage(verdicts=verdicts.rows()))
        self._stage("sample", number, 95)
        self._event("retry", seconds=1, role="policy", attempt=1, reason="the engine died: out of memory")
        pairs.sort(key=lambda row: (row["prompt_id"], row["pair_id"]))
        self.pair_ids += [row["pair_id"] for row in pairs]
        write_table(directory.path("pairs.parquet"), pa.Table.from_pylist(pairs, schema=PAIRS))
        by_judge = Counter(row["judge"] for row in pairs)
        directory.mark(
            PairsStage(
                questions=len({row["prompt_id"] for row in pairs}), pairs=len(pairs), below_margin=0,
                by_status=decided, by_judge=by_judge,
            )
        )  # fmt: skip
        self._stage("pairs", number, 0.7)
        self._train(number, len(pairs))
        self._stage("train", number, 130)
        passed = self._evaluate(directory.root, number + 1, self.first)
        self._stage("evaluate", number, 30)
        directory.mark(EvaluateStage(questions=len(self.heldout)))
        directory.mark(PromoteStage(promoted=passed))
        self._stage("promote", number, 0.1)
        if number == 0:
            self._event("interrupted", seconds=2, reason="SIGTERM")
            self._event("resume", seconds=7200, rounds=2)

    def _candidates(self, question: dict[str, Any], number: int) -> list[dict[str, Any]]:
        rows = []
        for index in range(CANDIDATES_EACH):
            text = (
                f"Net revenue was {question['reference'] or 'high'}" if index == 0 else f"It was ${index * 11} million."
            )
            if question is self.train[0] and index == 1:
                text = HOSTILE
            length = self.draw.randint(8, 40)
            rows.append(
                {
                    "prompt_id": question["id"], "candidate": index, "text": text,
                    "token_ids": list(range(length)), "logprobs": [-0.5] * length, "finish_reason": "stop",
                    "policy": policy_id(number), "seed": 1000 + index, "prompt_token_ids": list(range(200)),
                }
            )  # fmt: skip
        return rows

    def _verdicts(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        empty = dict.fromkeys(VERDICTS.names)
        common = {"prompt_id": question["id"]}
        rows = [
            {
                **empty, **common, "first": index, "score": float(index == 0), "status": "ok", "order": "single",
                "text": "the reference" if index == 0 else "not the reference's quantity", "judge": "reference",
                "judge_sha": REFERENCE_SHA, "prompt_sha": "", "prompt_tokens": 0, "completion_tokens": 0,
                "seconds": 0.0,
            }
            for index in range(CANDIDATES_EACH)
        ]  # fmt: skip
        for first in range(1, CANDIDATES_EACH):
            for second in range(first + 1, CANDIDATES_EACH):
                lean = self.draw.uniform(0.05, 0.95)
                for order in ("ab", "ba"):
                    status = self.draw.choices(["ok", "tie", "unparsed", "error"], [88, 6, 4, 2])[0]
                    preference = min(max(lean + self.draw.uniform(-0.1, 0.1), 0.01), 0.99)
                    text = {"ok": "A (A -0.31, B -1.32)", "unparsed": "Both answers are fine.", "error": "HTTP 503"}
                    rows.append(
                        {
                            **empty, **common, "first": first, "second": second, "order": order, "status": status,
                            "preference": preference if status == "ok" else None, "text": text.get(status, "neither"),
                            "judge": "finance-grounded", "judge_sha": MODEL_SHA, "prompt_sha": PROMPT_SHA,
                            "prompt_tokens": 420, "completion_tokens": 1, "seconds": 0.21,
                        }
                    )  # fmt: skip
        return rows

    def _pairs(
        self, question: dict[str, Any], candidates: list[dict[str, Any]], judged: list[dict[str, Any]], number: int,
        decided: Counter[str],
    ) -> list[dict[str, Any]]:  # fmt: skip
        own = {row["candidate"]: row for row in candidates if row["prompt_id"] == question["id"]}
        mine = [row for row in judged if row["prompt_id"] == question["id"]]
        rows = []
        for first in range(CANDIDATES_EACH):
            for second in range(first + 1, CANDIDATES_EACH):
                asked = [row for row in mine if (row["first"], row["second"]) == (first, second)]
                if first == 0:
                    chosen, rejected, margin, judge, sha = 0, second, 1.0, "reference", REFERENCE_SHA
                elif any(row["status"] != "ok" for row in asked) or len({row["preference"] > 0.5 for row in asked}) > 1:
                    statuses = {row["status"] for row in asked}
                    decided[next((name for name in ("error", "unparsed") if name in statuses), "tie")] += 1
                    continue
                else:
                    mean = sum(row["preference"] for row in asked) / len(asked)
                    chosen, rejected = (first, second) if mean > 0.5 else (second, first)
                    margin, judge, sha = abs(2 * mean - 1), "finance-grounded", MODEL_SHA
                decided["ok"] += 1
                by_score = judge == "reference"
                rows.append(
                    {
                        "pair_id": pair_id(number, question["id"], chosen, rejected),
                        "prompt": [{"role": "user", "content": question["question"]}],
                        "chosen": [{"role": "assistant", "content": own[chosen]["text"]}],
                        "rejected": [{"role": "assistant", "content": own[rejected]["text"]}],
                        "prompt_id": question["id"], "chosen_candidate": chosen, "rejected_candidate": rejected,
                        "prompt_token_ids": own[chosen]["prompt_token_ids"],
                        "chosen_token_ids": own[chosen]["token_ids"], "rejected_token_ids": own[rejected]["token_ids"],
                        "ref_chosen_logp": sum(own[chosen]["logprobs"]),
                        "ref_rejected_logp": sum(own[rejected]["logprobs"]),
                        "score_chosen": 1.0 if by_score else None, "score_rejected": 0.0 if by_score else None,
                        "margin": margin, "source": "ai", "judge": judge, "judge_sha": sha,
                        "policy": policy_id(number), "round": number,
                    }
                )  # fmt: skip
        return rows

    def _train(self, number: int, pairs: int) -> None:
        directory = self.run.round(number)
        write_bytes(directory.path("policy", "adapter_model.safetensors"), b"weights")
        files = {"adapter_model.safetensors": "c" * 64, "adapter_config.json": "d" * 64}
        PolicyRecord(
            id=policy_id(number + 1), kind="lora", base=BaseModelRecord(model="builtin:smollm2-135m", id=BASE),
            parent=policy_id(number), round=number, files=files,
            probe=Probe([ProbeSequence([1, 2], 1, [-0.5], [-0.7])]),
        ).write(directory.path("policy.json"))  # fmt: skip
        log = [
            {
                "step": step, "loss": 0.69 - 0.03 * step + self.draw.uniform(-0.05, 0.05), "margin": 0.05 * step,
                "accuracy": min(1.0, 0.5 + 0.04 * step), "grad_norm": 4 + self.draw.random(),
                "lr": 1e-5 * (1 - step / 12),
            }
            for step in range(1, 12)
        ]  # fmt: skip
        TrainingRecord(
            policy_id=policy_id(number + 1), steps=11, pairs=pairs, groups=18, tokens=51_234, seconds=128.4, loss=0.4,
            reference_logps="engine", mismatch=3.1e-5, mismatch_bias=-2e-6, mismatch_margin=4e-5,
            attention="alone", unpacked="convolutions", log=log,
        ).write(directory.path("training.json"))  # fmt: skip
        directory.mark(TrainStage(steps=11, pairs=pairs, seconds=128.4))

    def _evaluate(self, root: str, number: int, first: list[dict[str, Any]] | None) -> Any:
        folder = self.run.path("initial") if first is None else root
        quality = (0.35, 0.6, 0.45)[min(number, 2)]
        rows = []
        for index, question in enumerate(self.heldout):
            # The first question is always lost by training, the second always won.
            right = (number == 0, number > 0)[index] if index < 2 else self.draw.random() < quality
            reference = question["reference"]
            score = float(right) if reference is not None else None
            rows.append(
                {
                    **{name: question[name] for name in _STRINGS[:4]},
                    "answer": f"Net revenue was {reference}." if right else f"Not known. {HOSTILE if number else ''}",
                    "score": score, "exact": None if score is None else right,
                    "f1": None if score is None else 0.2 + 0.6 * score, "tokens": self.draw.randint(6, 50),
                    "failure": None,
                }
            )  # fmt: skip
        metrics = {"length": mean_interval([row["tokens"] for row in rows])}
        if self.references:
            for name in ("score", "exact", "f1"):
                metrics[name] = mean_interval([float(row[name]) for row in rows])
        difference, gate = None, None
        if first is not None:
            ours, theirs = ([float(row["score"] or 0) for row in answers] for answers in (rows, first))
            metrics["win_rate"] = win_rate(ours, theirs)
            metrics["kl"] = mean_interval([self.draw.uniform(0.1, 2.0) * number for _ in range(16)])
            difference = paired_difference(ours, theirs) if self.references else None
            after = sum(ours) / len(ours)
            gate = GateResult(metric="score", before=0.4, after=after, max_drop=0.0, passed=number == 1)
        write_table(f"{folder}/answers.parquet", pa.Table.from_pylist(rows, schema=_ANSWERS))
        EvaluationRecord(
            policy=policy_id(number), promoted=gate is None or gate.passed, questions=len(rows), failed=0,
            metrics=metrics, difference=difference, gate=gate,
        ).write(f"{folder}/evaluation.json")  # fmt: skip
        return rows if first is None else number == 1


def cut(root: Path, number: int, stage: str) -> None:
    """Remove a stage's mark and all later files, as if the run had been killed there."""
    made = {
        "sample": ["candidates", "failures"], "judge": ["verdicts"], "pairs": ["pairs.parquet"],
        "gather": ["demonstrations.parquet"], "train": ["policy", "policy.json", "training.json"],
        "evaluate": ["evaluation.json", "answers.parquet", "predictions.csv"], "promote": [],
    }  # fmt: skip
    later: tuple[Stage, ...] = STAGES[STAGES.index(stage) :]  # type: ignore[arg-type]
    folder = root / f"round-{number:03d}"
    for name in (name for entry in later for name in made[entry]):
        remove(folder / name)
    for path in root.glob("round-*"):
        if int(path.name.removeprefix("round-")) > number:
            remove(path)
    record = RunDir(str(root)).round(number).record()
    stages = record.stages.model_copy(update=dict.fromkeys(later))
    record.model_copy(update={"stages": stages}).write(str(folder / "manifest.json"))
    RunDir(str(root)).set_state("running")


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
