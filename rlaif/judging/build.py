"""From a judge's description to the judge that works."""

from rlaif.judging.judge import Backends, Judge
from rlaif.judging.llm import PairwiseLabelJudge
from rlaif.judging.panel import FirstToDecide
from rlaif.judging.reference import ReferenceJudge
from rlaif.judging.spec import JudgeSpec, LlmSpec, ReferenceSpec


def build_judge(spec: JudgeSpec, backends: Backends) -> Judge:
    """Return the judge that a file describes.

    Args:
        spec: of `load_judge_file`.
        backends: gives what serves the models of our own engines.
    """
    if isinstance(spec, ReferenceSpec):
        return ReferenceJudge(spec)
    if isinstance(spec, LlmSpec):
        return PairwiseLabelJudge(spec, backends.vllm(spec.model))
    return FirstToDecide(spec, tuple(build_judge(member, backends) for member in spec.members))
