"""One training on groups, whatever its objective: load, plan, train, prove and save.

Invariant: the policy's folder is complete before its hashes are reported, and the saved weights are those that the
probe was computed with.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rlaif.store.policy_weights import Probe
from rlaif.training.groups import Group, PackPlan
from rlaif.training.job import TrainingJob, TrainingResult, Worker

if TYPE_CHECKING:
    from rlaif.training.group_trainer import GroupTrainer
    from rlaif.training.kernels.attention import Attention

_NOT_SHOWN = ("files", "log", "probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTrainingResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of all packs. A subclass is an objective's, with its own figures.

    Attributes:
        unit: the field's word for what is learned from, in the plural.
        shared: what the units of one group have in common, in the plural.
        policy_id: sha256 of the trained weights.
        probe: log-probabilities that engines must reproduce.
        units: how many there are.
        groups: how many beginnings were computed once for all that follows them.
        loss: mean loss of the last step.
        attention: how a candidate is separated from others; see `Attention.kind`.
        unpacked: why each candidate was read after a prompt of its own; "" where the prompt was read once.
    """

    unit: ClassVar[str]
    shared: ClassVar[str] = "prompts"

    policy_id: str
    probe: Probe
    units: int
    groups: int
    loss: float
    attention: str
    unpacked: str

    @property
    def figures(self) -> dict[str, float | str | None]:
        """What is the objective's own, by name."""
        common = {each.name for each in fields(GroupTrainingResult)}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in common}

    @property
    def shown(self) -> dict[str, Any]:
        """All that is printed and recorded, by name; the units under their own word."""
        common = {each.name: getattr(self, each.name) for each in fields(GroupTrainingResult)}
        named = {self.unit if name == "units" else name: value for name, value in common.items()}
        return {name: value for name, value in named.items() if name not in _NOT_SHOWN} | self.figures

    @property
    def summary(self) -> str:
        """The training in one line for a person."""
        return (
            f"{self.units} {self.unit} on {self.groups} {self.shared}, {self.steps} steps in {self.seconds:.1f} s; "
            f"loss {self.loss:.3f}"
        )


R = TypeVar("R", bound=GroupTrainingResult)
G = TypeVar("G", bound=Group)


@dataclass(frozen=True, slots=True)
class LoadedGroups(Generic[G]):
    """The policy before its first update, and the groups as it reads them.

    Attributes:
        base: local folder of the base model.
        groups: marked as packed or not.
    """

    model: Any
    base: str
    attention: "Attention"
    groups: list[G]


def load_on_groups(job: TrainingJob[Any], groups: Sequence[G]) -> LoadedGroups[G]:
    """Load the policy that a training starts from, and settle how it reads the groups; every worker calls."""
    from transformers import set_seed

    from rlaif.models.resolve import resolve_model
    from rlaif.training.kernels.self_check import settle_attention
    from rlaif.training.models import load_policy

    set_seed(job.seed)
    base = resolve_model(job.start.base, job.start.revision)
    model = load_policy(job.start, base, job.settings.lora, gpu=job.gpu, sharded=job.sharded)
    attention = settle_attention(model, groups, gpu=job.gpu, sharded=job.sharded)
    return LoadedGroups(model, base, attention, [replace(group, packed=attention.kind != "alone") for group in groups])


def train_on_groups(
    job: TrainingJob[Any],
    worker: Worker,
    loaded: LoadedGroups[G],
    plan: PackPlan,
    *,
    trainer: "Callable[..., GroupTrainer]",
    result: Callable[..., R],
    units: int,
) -> R:
    """Train and save a policy; every worker calls, the first writes.

    Args:
        plan: of `loaded.groups`.
        trainer: the objective's, without the arguments that all have.
        result: makes the objective's result of the fields that all have.
        units: see `GroupTrainingResult`.
    """
    from transformers import AutoTokenizer

    from rlaif.models.merge import tokenizer_folder
    from rlaif.training.carried_state import fetch_state, store_state
    from rlaif.training.models import initial_adapter, save_model
    from rlaif.training.probe import ProbeRecorder
    from rlaif.training.trainer import Checkpoints, StepLog, fit, pack_arguments, step_entries

    groups = loaded.groups
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(loaded.base, initial_adapter(job.start)))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(job.checkpoints, scratch, worker.rank, sharded=job.sharded)
        made = trainer(
            loaded.model, args=pack_arguments(job, plan, checkpoints.folder), processing_class=tokenizer,
            groups=groups, plan=plan, callbacks=[StepLog(worker), checkpoints],
        )  # fmt: skip
        if job.state_in is not None:
            made.state_in = fetch_state(job.state_in, scratch)
        recorder = ProbeRecorder(made, groups)
        seconds = fit(made, checkpoints.last())
        probe = recorder.probe()
        trained = Path(scratch) / "policy"
        made.save_model(str(trained))
        if job.state_out is not None:
            store_state(made, job.state_out, scratch)
        files, policy_id = save_model(trained, tokenizer, job.out) if worker.rank == 0 else ({}, "")
    log = step_entries(made)
    return result(
        policy_id=policy_id,
        files=files,
        probe=probe,
        steps=plan.steps,
        units=units,
        groups=len(groups),
        tokens=sum(groups[index].tokens for pack in plan.packs for index in pack.groups),
        seconds=seconds,
        loss=log[-1]["loss"] if log else 0.0,
        attention=loaded.attention.kind,
        unpacked=loaded.attention.reason,
        log=log,
    )
