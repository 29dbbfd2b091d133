"""The KTO training that each worker runs."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from rlaif.recipe import KtoSection
from rlaif.training.group_training import GroupTrainingResult, load_on_groups, train_on_groups
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.kto.groups import RatedGroup, group_ratings, plan_ratings, read_groups, with_references

_COLUMNS = ["rating_id", "prompt_token_ids", "token_ids", "desirable", "source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KtoResult(GroupTrainingResult):
    """See `GroupTrainingResult`; the units are rated answers.

    Attributes:
        desirable, undesirable: how many answers there are of each.
    """

    unit = "ratings"

    desirable: int
    undesirable: int


def train_kto(job: TrainingJob[KtoSection], worker: Worker) -> KtoResult:
    """Train and save a policy; every worker calls, the first writes."""
    from rlaif.store.shards import read_table
    from rlaif.training.kto.trainer import GroupKTOTrainer
    from rlaif.training.reference_scores import initial_policy, score_together

    settings = job.settings
    rows = read_table(job.rows, columns=_COLUMNS).to_pylist()
    loaded = load_on_groups(job, group_ratings(rows, settings.human_weight))
    prompts = [group for group in loaded.groups if isinstance(group, RatedGroup)]
    context = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    groups, plan = plan_ratings(prompts, settings, context=context, workers=worker.count, seed=job.seed)
    read = read_groups(groups)
    reference, within = loaded.model, nullcontext()
    if settings.reference == "initial":
        reference, within = initial_policy(loaded.model, loaded.base, job)
    with within:
        logps = score_together(reference, read, settings.max_tokens_per_pack, job.gpu)
    desirable = [good for group in prompts for good in group.desirable]
    result = train_on_groups(
        job,
        worker,
        replace(loaded, groups=with_references(groups, read, logps)),
        plan,
        trainer=partial(
            GroupKTOTrainer,
            beta=settings.beta,
            max_tokens=settings.max_tokens_per_pack,
            desirable_weight=settings.desirable_weight,
            undesirable_weight=settings.undesirable_weight,
        ),
        result=partial(KtoResult, desirable=sum(desirable), undesirable=len(desirable) - sum(desirable)),
        units=len(desirable),
    )
    # Each prompt is a group of its own in each epoch.
    return replace(result, groups=len(prompts))
