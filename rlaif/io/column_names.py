"""Which column of a file holds which field, where a person says so: `--columns`, or `columns` of a recipe.

Invariant: a field is named once, with a column or with none.
"""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rlaif.errors import UserError

OPTION = "--columns"
ARGUMENT = "columns="


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns that a person names.

    Attributes:
        by_field: None reads none.
        setting: what a person writes them in: an option, the argument of a function, or a dotted key of a recipe.
    """

    by_field: Mapping[str, str | None] = field(default_factory=dict)
    setting: str = OPTION

    def check(self, fields: Iterable[str]) -> None:
        """Raise UserError if a field does not exist."""
        known = list(dict.fromkeys(fields))
        for name in self.by_field:
            if name not in known:
                raise UserError(f"{self.setting}: {name}: unknown field; expected one of {', '.join(known)}")

    def written(self, columns: Mapping[str, str]) -> str:
        """Return what to write to read these columns, by field; "" reads none."""
        if self.setting.startswith("-"):
            out = io.StringIO()
            csv.writer(out, lineterminator="").writerow([f"{name}={column}" for name, column in columns.items()])
            return f"{self.setting} {shlex.quote(out.getvalue())}"
        if self.setting == ARGUMENT:
            return f"{ARGUMENT}{ {name: column or None for name, column in columns.items()} }"
        return ", ".join(f"{self.setting}.{name}: {column or 'null'}" for name, column in columns.items())

    def names(self, name: str) -> str:
        """Return which setting names the column of a field."""
        if self.setting.startswith("-"):
            written = f"{self.setting} {name}=COLUMN"
        elif self.setting == ARGUMENT:
            written = f"{ARGUMENT}{ {name: 'COLUMN'} }"
        else:
            written = f"{self.setting}.{name} in the recipe"
        return f"{written} names the column of the {name.replace('_', ' ')}"


ANY_NAMES = ColumnNames()
"""Of a person who names no column."""


def parse_columns(texts: Sequence[str] | None, setting: str = OPTION) -> ColumnNames:
    """Parse `FIELD=COLUMN,...`; nothing after the sign reads no column, and quotes go around a name with a comma.

    >>> dict(parse_columns(["question=query,context=", '"gold_answer=target, checked"']).by_field)
    {'question': 'query', 'context': None, 'gold_answer': 'target, checked'}
    """
    found: dict[str, str | None] = {}
    for part in (part for row in csv.reader(texts or ()) for part in row):
        name, equals, column = (word.strip() for word in part.partition("="))
        if not (name and equals):
            raise UserError(f"{setting} {part}: expected FIELD=COLUMN, such as question=query")
        if name in found:
            raise UserError(f"{setting}: {name} is given twice; expected each field once")
        found[name] = column or None
    return ColumnNames(found, setting)
