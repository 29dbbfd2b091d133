"""What every section of a recipe shares: strictness, and field docstrings that become descriptions."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error rather than a silent nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
