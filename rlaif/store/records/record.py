"""What all records share: a layout number, one way to be read, one way to be written.

Invariant: reading returns a whole, checked record or raises one line that names the file.
"""

import json
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rlaif.errors import UserError
from rlaif.io.files import read_json, write_json


class RecordPart(BaseModel):
    """A part of a record: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Record(RecordPart):
    """A JSON file that rlaif writes. Every record declares `layout`, and raises it when a reader of the old file would
    break."""

    layout: int

    @classmethod
    def read(cls, path: str) -> Self | None:
        """Return the record in a file, or None if there is no such file.

        Raises:
            UserError: the file is not JSON, has another layout, or lacks a field.
        """
        try:
            value = read_json(path)
        except NotADirectoryError:
            return None
        except json.JSONDecodeError as error:
            reason = f"not JSON: {error.msg}; expected a file that rlaif wrote"
            raise UserError(f"{path}:{error.lineno}: {reason}") from None
        if value is None:
            return None
        expected = cls.model_fields["layout"].default
        found = value.get("layout", "none") if isinstance(value, dict) else "none"
        if found != expected:
            raise UserError(
                f"{path}: layout {found}, but this version of rlaif reads layout {expected}; "
                "use the version that wrote the file, or start a new run under another name"
            )
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: {field}: {first['msg']}; expected a file that rlaif wrote") from None

    def write(self, path: str) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))
