"""Names of installed judges and prompts that are gone, and what they are called now."""

from collections.abc import Mapping

from rlaif.io.renamed import warn_renamed
from rlaif.io.resources import list_resources

_REASONING = ("constitution", "finance-correctness", "finance-grounded", "helpfulness", "rubric")
_LARGE = "model=Qwen/Qwen2.5-32B-Instruct"
_FORMER: Mapping[str, Mapping[str, str]] = {
    "prompts": {f"{name}-reasoning": f"{name}:reasoning" for name in _REASONING},
    "judges": {
        **{f"{name}-reasoning": f"{name}:reasoning" for name in _REASONING},
        "finance-grounded-32b": f"finance-grounded:{_LARGE}",
        "finance-panel-32b": f"finance-panel:{_LARGE}",
        "finance-panel-small": "finance-panel:skip_when_both_below=0.5",
    },
}


def current_name(kind: str, name: str) -> str:
    """Return what a judge or prompt is called now, with a `RenamedWarning` where the name is a former one.

    Args:
        kind: `judges` or `prompts`.
        name: as a person wrote it. A file of the working directory with a former name goes before.
    """
    now = _FORMER[kind].get(name)
    if now is None or name in list_resources(kind):
        return name
    warn_renamed(kind.removesuffix("s"), name, now)
    return now
