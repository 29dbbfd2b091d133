"""The stage that trains a round's policy on its pairs."""

from rlaif.inference.pools import RunPools
from rlaif.models.policy_source import policy_source
from rlaif.progress import Progress
from rlaif.recipe import Recipe
from rlaif.store.events import Emit, TrainingLost
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import BaseModelRecord, PolicyRecord, TrainStage
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RoundDir
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.workers import StepProgress, TrainingWorkers


async def train_policy(
    directory: RoundDir,
    recipe: Recipe,
    current: PolicyWeights,
    *,
    pools: RunPools,
    workers: TrainingWorkers,
    progress: Progress,
    emit: Emit,
) -> None:
    """Train the round's policy from the current one, if the round has pairs, and mark the stage."""
    paired = directory.record().stages.pairs
    if paired is not None and paired.pairs == 0:
        directory.mark(TrainStage(steps=0, reason="the round has no pairs"))
        return
    policy, source = recipe.policy, policy_source(recipe.policy, recipe.training.lora)
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
        rows=directory.path("pairs.parquet"),
        out=directory.path("policy"),
        settings=recipe.training,
        seed=recipe.seed + directory.number,
        gpu=pools.demand.gpu,
        workers=recipe.cluster.training,
        checkpoints=directory.path("training") if recipe.training.checkpoint_steps else None,
    )
    await pools.make_room()
    title = f"round {directory.number}: train"
    on_step = StepProgress(progress, f"{title}: prepare", title)

    def on_lost(starts: int) -> None:
        on_step.restart()
        emit(TrainingLost(round=directory.number, starts=starts))
        progress.say(f"{title}: a worker was lost; its steps since the last checkpoint are taken again")

    with pools.training_wait() as wait:
        result = await workers.run(train_dpo, job, on_step, on_lost=on_lost, wait=wait)
    if pools.demand.takes_turns:
        await workers.stop()
    base_id = source.base_id() if source.adapter else pools.policy.base.id
    base = BaseModelRecord(model=source.model, id=base_id)
    _record(directory, recipe, result, parent=current.id, base=base)


def _record(directory: RoundDir, recipe: Recipe, result: DpoResult, *, parent: str, base: BaseModelRecord) -> None:
    TrainingRecord(
        policy_id=result.policy_id,
        steps=result.steps,
        pairs=result.units,
        groups=result.groups,
        tokens=result.tokens,
        seconds=result.seconds,
        loss=result.loss,
        reference_logps=result.reference,
        mismatch=result.mismatch,
        mismatch_bias=result.mismatch_bias,
        mismatch_margin=result.mismatch_margin,
        attention=result.attention,
        unpacked=result.unpacked,
        log=result.log,
    ).write(directory.path("training.json"))
    PolicyRecord(
        id=result.policy_id,
        kind="lora" if recipe.training.lora else "full",
        base=base,
        parent=parent,
        round=directory.number,
        files=result.files,
        probe=result.probe,
    ).write(directory.path("policy.json"))
    directory.mark(TrainStage(steps=result.steps, pairs=result.units, seconds=round(result.seconds, 1)))
