"""From a judge's description to the judge that works."""

from collections.abc import Callable

from rlaif.judging.judge import Judge, LabelBackend
from rlaif.judging.llm import PairwiseLabelJudge
from rlaif.judging.panel import FirstToDecide
from rlaif.judging.reference import ReferenceJudge
from rlaif.judging.spec import JudgeSpec, LlmSpec, ReferenceSpec


def build_judge(spec: JudgeSpec, backend_for: Callable[[str], LabelBackend]) -> Judge:
    """Return the judge that a file describes.

    Args:
        spec: of `load_judge_file`.
        backend_for: gives what serves a model, by the model's name in the judge file (`policy`, an id, a directory).
    """
    if isinstance(spec, ReferenceSpec):
        return ReferenceJudge(spec)
    if isinstance(spec, LlmSpec):
        return PairwiseLabelJudge(spec, backend_for(spec.model))
    return FirstToDecide(spec, tuple(build_judge(member, backend_for) for member in spec.members))
