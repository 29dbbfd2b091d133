"""A judge file, `judges/NAME.yaml`: from what a person writes to a checked `JudgeSpec`, or to one message."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from rlaif.errors import UserError
from rlaif.judging.answers import TOLERANCE
from rlaif.judging.front import PairwiseFront
from rlaif.judging.promptfile import load_prompt_file
from rlaif.judging.spec import JudgeSpec, LlmSpec, Orders, PanelSpec, ReferenceSpec
from rlaif.judging.yamlfile import YamlMapping, parse_mapping, read_text, validated
from rlaif.recipe.base import Section
from rlaif.resources import find_resource

__all__ = ["JudgeSpec", "LlmFile", "PanelFile", "ReferenceFile", "VllmBackend", "load_judge_file"]


class VllmBackend(Section):
    """An engine pool of ours."""

    type: Literal["vllm"]
    model: str = Field(default="policy", min_length=1)
    """`policy` for the run's initial policy, or a hub id or local directory."""


class ReferenceFile(Section):
    """The exact check against the reference answer; it says nothing of prompts that have none."""

    kind: Literal["reference"]
    tolerance: float = Field(default=TOLERANCE, ge=0, lt=1)
    """Relative difference within which two quantities are equal."""


class LlmFile(Section):
    """A model that compares two answers."""

    kind: Literal["llm"]
    prompt: str = Field(min_length=1)
    """A name in `prompts/`, or the path of a prompt file, from here or from the working directory."""
    backend: VllmBackend = VllmBackend(type="vllm")
    """What serves the model."""
    orders: Orders = "both"
    """`both` asks each comparison in both orders and ties where they disagree; `given` asks once, at half the cost."""
    rubric: str = ""
    """Criteria of your own, for prompts that show a rubric."""


class PanelFile(Section):
    """Several judges that come to one decision."""

    kind: Literal["panel"]
    mode: Literal["first-to-decide"]
    """`first-to-decide` asks the judges in turn, each only what those before it left undecided."""
    judges: tuple[str, ...] = Field(min_length=1)
    """Names in `judges/`, or paths of judge files, from here or from the working directory."""
    skip_when_both_below: float | None = None
    """A comparison that a rating judge ties with both scores below this stays a tie, and no later judge is asked.

    Two answers that an exact check found wrong alike have nothing to teach, and a small model asked to choose between
    them would teach the policy its own taste in mistakes. Null asks the later judges.
    """


_JudgeFile = ReferenceFile | LlmFile | PanelFile
_FILE: TypeAdapter[_JudgeFile] = TypeAdapter(Annotated[_JudgeFile, Field(discriminator="kind")])


def load_judge_file(name: str) -> JudgeSpec:
    """Read and check a judge file with its prompt, and a panel's with its members'.

    Args:
        name: its path, or the name of a judge in `./judges` or the installed ones.

    Raises:
        UserError: with the file, the line, the key and what was expected.
    """
    return _load(find_resource("judges", name), ())


def _load(path: Path, above: tuple[Path, ...]) -> JudgeSpec:
    mapping = parse_mapping(read_text(path), str(path))
    file = validated(_FILE, mapping)
    if isinstance(file, ReferenceFile):
        return ReferenceSpec(path.stem, path, file.tolerance)
    if isinstance(file, LlmFile):
        return _llm(file, path, mapping)
    return _panel(file, path, mapping, above)


def _llm(file: LlmFile, path: Path, mapping: YamlMapping) -> LlmSpec:
    try:
        prompt = load_prompt_file(file.prompt, beside=path)
    except UserError as error:
        raise UserError(f"{mapping.at(('prompt',))}: prompt: {error}") from None
    if not isinstance(prompt.front, PairwiseFront):
        raise UserError(f"{mapping.at(('prompt',))}: prompt: {prompt.path} is of kind {prompt.kind}; expected pairwise")
    if file.rubric.strip() and "rubric" not in prompt.uses:
        raise UserError(
            f"{mapping.at(('rubric',))}: rubric: {prompt.path} never shows one; expected {{{{ rubric }}}} in it"
        )
    return LlmSpec(
        path.stem, path, prompt, prompt.front, file.backend.type, file.backend.model, file.orders, file.rubric.strip()
    )


def _panel(file: PanelFile, path: Path, mapping: YamlMapping, above: tuple[Path, ...]) -> PanelSpec:
    chain = (*above, path.resolve())
    members = []
    for index, name in enumerate(file.judges):
        where = f"{mapping.at(('judges', index))}: judges.{index}"
        try:
            member = find_resource("judges", name, path)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if member.resolve() in chain:
            circle = [*chain[chain.index(member.resolve()) :], member.resolve()]
            raise UserError(f"{where}: a panel that asks itself: {' -> '.join(place.stem for place in circle)}")
        members.append(_load(member, chain))
    panel = PanelSpec(path.stem, path, file.mode, tuple(members), file.skip_when_both_below)
    shas = [leaf.sha for leaf in panel.leaves]
    if twice := [leaf.name for leaf in panel.leaves if shas.count(leaf.sha) > 1]:
        # Verdicts are told apart by the sha256, so the two would share them.
        raise UserError(
            f"{mapping.at(('judges',))}: judges: {' and '.join(twice)} are the same judge; expected each once"
        )
    return panel
