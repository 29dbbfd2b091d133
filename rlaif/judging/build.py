"""From a judge's description to the judge that works."""

from rlaif.judging.asking import Asker, LogprobAsker, TextAsker
from rlaif.judging.front import LogprobFront
from rlaif.judging.judge import Backends, Judge, ModelBackend
from rlaif.judging.llm import PairwiseJudge, PointwiseJudge
from rlaif.judging.panel import FirstToDecide
from rlaif.judging.reference import ReferenceJudge
from rlaif.judging.spec import JudgeSpec, LlmSpec, ReferenceSpec, RewardModelSpec
from rlaif.judging.vote import Vote


def build_judge(spec: JudgeSpec, backends: Backends) -> Judge:
    """Return the judge that a file describes.

    Args:
        spec: of `load_judge_file`.
        backends: gives what serves the models of our own engines.
    """
    if isinstance(spec, ReferenceSpec):
        return ReferenceJudge(spec)
    if isinstance(spec, RewardModelSpec):
        from rlaif.judging.reward_model import RewardModel, RewardModelJudge

        return RewardModelJudge(spec, RewardModel(spec.model, spec.batch_size, spec.device))
    if isinstance(spec, LlmSpec):
        asker = _asker(spec, backends.vllm(spec.model))
        return PairwiseJudge(spec, asker) if spec.pairwise else PointwiseJudge(spec, asker)
    members = tuple(build_judge(member, backends) for member in spec.members)
    return FirstToDecide(spec, members) if spec.mode == "first-to-decide" else Vote(spec, members)


def _asker(spec: LlmSpec, backend: ModelBackend) -> Asker:
    if isinstance(spec.front, LogprobFront):
        return LogprobAsker(spec.front, backend)
    if spec.sampling is None:
        raise ValueError(f"{spec.name}: a judge that answers with a text has a sampling")
    return TextAsker(spec.front, spec.sampling, spec.seed, backend)
