"""A judge file, `judges/NAME.yaml`: from what a person writes to a checked `JudgeSpec`, or to one message."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from rlaif.errors import UserError
from rlaif.grading.match import TOLERANCE
from rlaif.inference.backends import Backend, OpenAIBackend, VllmBackend
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import YamlMapping, parse_mapping, read_text, validated
from rlaif.judges.spec import JudgeSpec, LlmSpec, Orders, PanelMode, PanelSpec, ReferenceSpec, RewardModelSpec, Sampling
from rlaif.prompts.front_matter import AnswerFrontMatter, JudgeFrontMatter, LogprobFrontMatter, PointwiseFrontMatter
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe.base import Section

__all__ = ["JudgeSpec", "LlmFile", "PanelFile", "ReferenceFile", "RewardModelFile", "load_judge_file"]


class ReferenceFile(Section):
    """The exact check against the reference answer; it says nothing of prompts that have none."""

    kind: Literal["reference"]
    tolerance: float = Field(default=TOLERANCE, ge=0, lt=1)
    """Relative difference within which two quantities are equal."""


class LlmFile(Section):
    """A model that compares two answers, or rates one."""

    kind: Literal["llm"]
    prompt: str = Field(min_length=1)
    """A name in `prompts/`, or the path of a prompt file, from here or from the working directory."""
    backend: Backend = VllmBackend(type="vllm")
    """What serves the model."""
    orders: Orders = "both"
    """`both` asks each comparison in both orders and ties where they disagree; `given` asks once, at half the cost."""
    rubric: str = ""
    """Criteria of your own, for prompts that show a rubric."""
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Of a judge that answers with a text: 0 is greedy; null is the endpoint's own, for models that take no other."""
    max_tokens: int = Field(default=1024, ge=1, le=131_072)
    """Of a judge that answers with a text: its longest answer. One that is cut has no verdict."""
    samples: int = Field(default=1, ge=1, le=100)
    """Of a judge that answers with a text: answers to each question. Their mean decides, where most could be read."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of what is drawn: the samples, and the principles."""
    principles: tuple[str, ...] = ()
    """For prompts that show a principle: one of these is drawn for each comparison, the same in both orders."""
    principles_file: str | None = Field(default=None, min_length=1)
    """Instead: a text file with one principle a line. Empty lines and those that begin with # are left out."""


class RewardModelFile(Section):
    """A sequence classifier with one output, which scores each answer."""

    kind: Literal["reward-model"]
    model: str = Field(min_length=1)
    """A hub id or local directory that `AutoModelForSequenceClassification` loads."""
    prompt: str = Field(default="answer", min_length=1)
    """The prompt file that puts the question, of kind `answer`: that of the policy, as a rule."""
    batch_size: int = Field(default=8, ge=1, le=4096)
    """Conversations that are scored at once."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Where it runs, in the process that judges; `auto` takes a GPU where there is one."""


class PanelFile(Section):
    """Several judges that come to one decision."""

    kind: Literal["panel"]
    mode: PanelMode
    """`first-to-decide` asks the judges in turn, each only what those before it left undecided. `majority` asks all and
    counts their votes; `mean` asks all and averages their preferences. A tie is half a vote for each side."""
    judges: tuple[str, ...] = Field(min_length=1)
    """Names in `judges/`, or paths of judge files, from here or from the working directory."""
    skip_when_both_below: float | None = None
    """A comparison that a rating judge ties with both scores below this stays a tie, and no later judge is asked.

    Two answers that an exact check found wrong alike have nothing to teach, and a small model asked to choose between
    them would teach the policy its own taste in mistakes. Null asks the later judges.
    """


_JudgeFile = ReferenceFile | LlmFile | RewardModelFile | PanelFile
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
    if isinstance(file, RewardModelFile):
        return _reward_model(file, path, mapping)
    return _panel(file, path, mapping, above)


def _llm(file: LlmFile, path: Path, mapping: YamlMapping) -> LlmSpec:
    prompt = _prompt(file.prompt, path, mapping)
    front = prompt.front
    if isinstance(front, AnswerFrontMatter):
        raise _fault(mapping, "prompt", f"{prompt.path} is of kind answer; expected pairwise or pointwise")
    if file.rubric.strip() and "rubric" not in prompt.uses:
        raise _fault(mapping, "rubric", f"{prompt.path} never shows one; expected {{{{ rubric }}}} in it")
    if "orders" in file.model_fields_set and isinstance(front, PointwiseFrontMatter):
        raise _fault(mapping, "orders", f"{prompt.path} rates one answer at a time; expected no orders")
    principles, principles_path = _principles(file, path, mapping)
    if bool(principles) != ("principle" in prompt.uses):
        key = "principles_file" if principles_path else "principles"
        problem = (
            "never shows one; expected {{ principle }} in it" if principles else "shows one; expected a list of them"
        )
        raise _fault(mapping, key, f"{prompt.path} {problem}")
    spec = LlmSpec(
        path.stem,
        path,
        prompt,
        front,
        file.backend,
        file.orders,
        file.rubric.strip(),
        _sampling(file, front, mapping),
        principles,
        principles_path,
        file.seed,
    )
    if "seed" in file.model_fields_set and not spec.draws:
        raise _fault(mapping, "seed", "nothing is drawn; expected it with a temperature above 0, or with principles")
    if isinstance(front, LogprobFrontMatter) and front.prefix and isinstance(file.backend, OpenAIBackend):
        raise _fault(
            mapping, "backend", f"{prompt.path} has a prefix, and no endpoint lets one begin the model's answer"
        )
    return spec


def _sampling(file: LlmFile, front: JudgeFrontMatter, mapping: YamlMapping) -> Sampling | None:
    """Return how a text is asked for; None where none is."""
    if isinstance(front, LogprobFrontMatter):
        for key in ("temperature", "max_tokens", "samples"):
            if key in file.model_fields_set:
                raise _fault(
                    mapping, key, "the prompt is read from log-probabilities (verdict: logprob); expected none"
                )
        return None
    if file.temperature is None and isinstance(file.backend, VllmBackend):
        raise _fault(mapping, "temperature", "null is the endpoint's own; expected a number for an engine of ours")
    if file.samples > 1 and file.temperature == 0:
        raise _fault(mapping, "samples", "at temperature 0 all samples are the same; expected a temperature above 0")
    return Sampling(file.temperature, file.max_tokens, file.samples)


def _principles(file: LlmFile, path: Path, mapping: YamlMapping) -> tuple[tuple[str, ...], Path | None]:
    key, place = "principles", None
    found: Sequence[str] = file.principles
    if file.principles_file is not None:
        if found:
            raise _fault(mapping, "principles_file", "principles stands there too; expected one of the two")
        key = "principles_file"
        places = [start / file.principles_file for start in (Path.cwd(), path.parent)]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise _fault(mapping, key, f"{file.principles_file}: no such file")
        found = [line for line in read_text(place).split("\n") if line.strip() and not line.lstrip().startswith("#")]
    principles = tuple(principle.strip() for principle in found)
    if place is not None and not principles:
        raise _fault(mapping, key, f"{place} holds no principle; expected one a line")
    if not all(principles) or len(set(principles)) < len(principles):
        raise _fault(mapping, key, "one is empty or stands twice; expected different ones")
    return principles, place


def _reward_model(file: RewardModelFile, path: Path, mapping: YamlMapping) -> RewardModelSpec:
    prompt = _prompt(file.prompt, path, mapping)
    if not isinstance(prompt.front, AnswerFrontMatter):
        raise _fault(mapping, "prompt", f"{prompt.path} is of kind {prompt.kind}; expected answer")
    return RewardModelSpec(path.stem, path, file.model, prompt, file.batch_size, file.device)


def _prompt(name: str, path: Path, mapping: YamlMapping) -> PromptTemplate:
    try:
        return load_template(name, beside=path)
    except UserError as error:
        raise _fault(mapping, "prompt", str(error)) from None


def _panel(file: PanelFile, path: Path, mapping: YamlMapping, above: tuple[Path, ...]) -> PanelSpec:
    if file.mode != "first-to-decide" and file.skip_when_both_below is not None:
        raise _fault(mapping, "skip_when_both_below", f"in mode {file.mode} all judges are asked; expected none")
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
        raise _fault(mapping, "judges", f"{' and '.join(twice)} are the same judge; expected each once")
    return panel


def _fault(mapping: YamlMapping, key: str, problem: str) -> UserError:
    return UserError(f"{mapping.at((key,))}: {key}: {problem}")
