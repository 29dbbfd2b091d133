"""The stage that trains a round's policy on what the round has gathered."""

from typing import Any

from rlaif.inference.pools import RunPools
from rlaif.models.policy_source import policy_source
from rlaif.objectives.objective import Objective
from rlaif.progress import Progress
from rlaif.recipe import PolicyTrainingSection, Recipe
from rlaif.store.events import Emit, TrainingLost
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import BaseModelRecord, PolicyRecord, TrainStage
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RoundDir
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import OnStep, StartingWeights, TrainingJob, ignore_step
from rlaif.training.workers import StepProgress, TrainingWorkers

# Figures of every training, as result and record name them.
_RECORDED = (
    "policy_id", "steps", "units", "unit", "groups", "tokens", "seconds", "loss", "attention", "unpacked", "log",
)  # fmt: skip


async def train_policy(
    directory: RoundDir,
    recipe: Recipe,
    current: PolicyWeights,
    settings: PolicyTrainingSection,
    objective: Objective[Any],
    *,
    pools: RunPools,
    workers: TrainingWorkers,
    progress: Progress,
    emit: Emit,
    temperature: float = 1.0,
    state_in: str | None = None,
    on_step: OnStep = ignore_step,
) -> None:
    """Train the round's policy from the current one, if the round has what to learn from, and mark the stage.

    Args:
        settings: of the training, which those of the recipe's phase are.
        temperature: at which the round's candidates were sampled.
        state_in: folder of the optimizer's state that the training goes on with; None begins anew.
        on_step: takes the log entry of each step, beside the progress.
    """
    gathered = directory.record().gathered
    if gathered is not None and gathered.units == 0:
        directory.mark(TrainStage(steps=0, reason=f"the round has no {gathered.unit}"))
        return
    policy, source = recipe.policy, policy_source(recipe.policy, settings.lora)
    job = TrainingJob(
        start=StartingWeights(
            source.model,
            source.revision,
            policy.dtype,
            path=current.folder,
            id=current.id,
            adapter=source.adapter,
            adapter_revision=source.adapter_revision,
        ),
        rows=directory.path(objective.rows),
        out=directory.path("policy"),
        settings=settings,
        seed=recipe.seed + directory.number,
        gpu=pools.demand.gpu,
        workers=recipe.cluster.training,
        checkpoints=directory.path("training") if settings.checkpoint_steps else None,
        state_in=state_in,
        state_out=directory.path("state") if objective.carries_state else None,
        temperature=temperature,
    )
    await pools.make_room()
    title = f"round {directory.number}: train"
    shown = StepProgress(progress, f"{title}: prepare", title)

    def on_entry(entry: dict[str, float]) -> None:
        shown(entry)
        on_step(entry)

    def on_lost(starts: int) -> None:
        shown.restart()
        emit(TrainingLost(round=directory.number, starts=starts))
        progress.say(f"{title}: a worker was lost; its steps since the last checkpoint are taken again")

    with pools.training_wait() as wait:
        result = await workers.run(objective.train, job, on_entry, on_lost=on_lost, wait=wait)
    if pools.demand.takes_turns:
        await workers.stop()
    base_id = source.base_id() if source.adapter else pools.policy.base.id
    base = BaseModelRecord(model=source.model, id=base_id)
    _record(directory, result, lora=settings.lora is not None, parent=current.id, base=base)


def _record(
    directory: RoundDir, result: GroupTrainingResult, *, lora: bool, parent: str, base: BaseModelRecord
) -> None:
    of_pairs = result.units if result.unit == "pairs" else 0
    own = {"reference_logps" if name == "reference" else name: value for name, value in result.figures.items()}
    known = TrainingRecord.model_fields
    TrainingRecord(
        objective=directory.record().objective,
        pairs=of_pairs,
        figures={name: value for name, value in own.items() if name not in known and isinstance(value, int | float)},
        **{name: getattr(result, name) for name in _RECORDED},
        **{name: value for name, value in own.items() if name in known},
    ).write(directory.path("training.json"))
    PolicyRecord(
        id=result.policy_id,
        kind="lora" if lora else "full",
        base=base,
        parent=parent,
        round=directory.number,
        files=result.files,
        probe=result.probe,
    ).write(directory.path("policy.json"))
    seconds = round(result.seconds, 1)
    directory.mark(TrainStage(steps=result.steps, pairs=of_pairs, units=result.units, seconds=seconds))
