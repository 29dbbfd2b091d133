"""Reads a judge file, `judges/NAME.yaml`: a checked `JudgeSpec`, or one message with the file, the line and the key."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from rlaif.errors import UserError
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import parse_mapping, read_text, validated
from rlaif.judges.llm import LlmSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.reference import ReferenceSpec
from rlaif.judges.reward_model import RewardModelSpec
from rlaif.judges.spec import JudgeSpec, KeyFault, Origin

_FILE: TypeAdapter[ReferenceSpec | LlmSpec | RewardModelSpec | PanelSpec] = TypeAdapter(
    Annotated[ReferenceSpec | LlmSpec | RewardModelSpec | PanelSpec, Field(discriminator="kind")]
)


def load_judge_file(name: str) -> JudgeSpec:
    """Read and check a judge file with its prompt, and a panel's with its members'.

    Args:
        name: its path, or the name of a judge in `./judges` or the installed ones.

    Raises:
        UserError: with the file, the line, the key and what was expected.
    """
    return _load(find_resource("judges", name), ())


def _load(path: Path, above: tuple[Path, ...]) -> JudgeSpec:
    chain = (*above, path.resolve())

    def load_member(name: str, key: str) -> JudgeSpec:
        try:
            member = find_resource("judges", name, path)
        except UserError as error:
            raise KeyFault(key, str(error)) from None
        if member.resolve() in chain:
            circle = [*chain[chain.index(member.resolve()) :], member.resolve()]
            raise KeyFault(key, f"a panel that asks itself: {' -> '.join(path.stem for path in circle)}")
        return _load(member, chain)

    mapping = parse_mapping(read_text(path), str(path))
    try:
        return validated(_FILE, mapping, Origin(path, load_member))
    except KeyFault as fault:
        key = tuple(int(part) if part.isdecimal() else part for part in fault.key.split("."))
        raise UserError(f"{mapping.at(key)}: {fault}") from None
