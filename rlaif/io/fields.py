"""The fields of rows: each from the column of its own name, of an old one, or of the one that a person names.

Invariant: a column that a person names is there, and a column that looks like a field that is missing is asked about,
never ignored; each fault comes with the first row that shows it.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlaif.errors import Fault, UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.renamed import Renames, warn_renamed
from rlaif.io.row import Row

_ALIKE = 0.86  # `questoin` is like `question`, and `content` is not like `context`.
_SHORTEST = 5


@dataclass(frozen=True, slots=True)
class Fields:
    """What a reader takes from each row.

    Attributes:
        names: of the fields, each also the column that holds it.
        renames: old names of columns.
        columns: those that a person names.
        asked: fields whose misspelt columns are asked about; None asks about all.
        shared: the field that is read from its column even if a person names that column for another field too.
    """

    names: Sequence[str]
    renames: Renames = field(default_factory=dict)
    columns: ColumnNames = ANY_NAMES
    asked: Sequence[str] | None = None
    shared: str = "question"

    @property
    def wanted(self) -> list[str]:
        """All columns that may hold a field."""
        named = [column for column in self.columns.by_field.values() if column is not None]
        return list(dict.fromkeys([*self.names, *self.renames, *named]))


def rows_of_fields(rows: Iterable[Row], fields: Fields) -> Iterator[Row]:
    """Yield the rows with their values by field.

    Raises:
        UserError: a person names a field or a column that does not exist, a column looks like a missing field, or
            both names of a renamed column are there.
    """
    fields.columns.check(fields.names)
    plans: dict[tuple[str, ...], dict[str, str]] = {}
    warned: set[str] = set()
    unseen = {name: column for name, column in fields.columns.by_field.items() if column is not None}
    last: Row | None = None
    for row in rows:
        last = row
        shape = tuple(row.columns)
        if shape not in plans:
            unseen = {name: column for name, column in unseen.items() if column not in shape}
            if unseen and not row.ragged:
                raise _no_column(row, unseen, fields.columns)
            plans[shape] = _plan(row, fields, warned)
        plan = plans[shape]
        values = {name: row.values[column] for name, column in plan.items() if column in row.values}
        # Not `replace`, which takes half of the time of reading.
        yield Row(row.path, values, row.columns, row.line, row.number, row.ragged, row.all_text, plan, fields.columns)
    if unseen and last is not None:
        raise _no_column(last, unseen, fields.columns)


def _plan(row: Row, fields: Fields, warned: set[str]) -> dict[str, str]:
    """Return the column of each field that a row has."""
    named = fields.columns.by_field
    there, plan = set(row.columns), {}
    taken = {column for column in named.values() if column is not None}
    for name in fields.names:
        column = named.get(name, None if name in taken and name != fields.shared else name)
        if column in there:
            plan[name] = column
    for old, renamed in fields.renames.items():
        if old not in there or old in taken or renamed.name in named:
            continue
        renamed.refuse_both(row.columns, Fault(row.path, line=row.line, row=row.number, field=old))
        plan[renamed.name] = old
        if old not in warned:
            warned.add(old)
            warn_renamed(row.location, old, renamed.name)
    _ask(row, fields, [name for name in fields.names if name not in plan and name not in named], taken)
    return plan


def _ask(row: Row, fields: Fields, missing: Sequence[str], taken: set[str]) -> None:
    """Raise UserError if columns look like fields that are missing."""
    others = [column for column in row.columns if column not in {*fields.names, *fields.renames, *taken}]
    old = {name: [old for old, new in fields.renames.items() if new.name == name] for name in missing}
    alike: dict[str, str] = {}
    for name in missing if fields.asked is None else [name for name in missing if name in fields.asked]:
        for column in others:
            if column not in alike.values() and any(_like(column, known) for known in (name, *old[name])):
                alike.setdefault(name, column)
    if alike:
        several = len(alike) > 1
        problem = (
            f"{'columns' if several else 'column'} {', '.join(map(repr, alike.values()))} "
            f"{'look' if several else 'looks'} like {', '.join(alike)}"
        )
        none = fields.columns.written({next(iter(alike)): ""})
        expected = f"{fields.columns.written(alike)} to read {'them' if several else 'it'}, or {none} to read none"
        raise UserError(Fault(row.path, problem, row.line if row.ragged else None, expected=expected))


def _like(column: str, name: str) -> bool:
    """Whether a column's name is a field's with other case or signs, or one with a slip in it.

    One of several, such as `answer_a` or `output_2`, is no slip.
    """
    found, wanted = _plain(column), _plain(name)
    if re.fullmatch(rf"{re.escape(name)}[\W_]+\w", column, re.IGNORECASE):
        return False
    if found == wanted or min(len(found), len(wanted)) < _SHORTEST or abs(len(found) - len(wanted)) > 1:
        return found == wanted
    return difflib.SequenceMatcher(None, found, wanted).ratio() >= _ALIKE


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _no_column(row: Row, unseen: Mapping[str, str], names: ColumnNames) -> UserError:
    name, column = min(unseen.items())
    problem = f"no column {column!r}; columns here: {row.shown_columns}; {names.names(name)}"
    return UserError(Fault(row.path, problem))
