"""The two forms of a prompt file: one asks for the verdict alone, the other for reasons before it.

Invariant: a form is the file that one would write for it alone: the same front matter, text and sha256.
"""

import re
from collections.abc import Sequence

from rlaif.errors import UserError, shown
from rlaif.io.yaml_file import YamlMapping

REASONING = "reasoning"
"""The section of the front matter for the form with reasons, and the variable in the tags."""

_ON, _OFF, _ELSE, _END = (
    re.compile(rf"\s*\{{%\s*{words}\s*%\}}\s*") for words in ("if reasoning", "if not reasoning", "else", "endif")
)
_OPENS, _CLOSES = re.compile(r"\{%[-+]?\s*if\b"), re.compile(r"\{%[-+]?\s*endif\b")
_DROPPED = "{##}"
"""Replaces a line of the other form: it renders to nothing, and later lines keep their numbers."""


def front_matter_of(mapping: YamlMapping, *, reasoning: bool) -> YamlMapping:
    """Return the front matter of one form of a file that has a section `reasoning`."""
    tree = {key: value for key, value in mapping.tree.items() if key != REASONING}
    if not reasoning:
        return YamlMapping(tree, mapping.locations)
    section = mapping.tree[REASONING]
    if not isinstance(section, dict):
        raise UserError(mapping.fault((REASONING,), expected="keys such as verdict", found=shown(section)))
    locations = {key[1:]: location for key, location in mapping.locations.items() if key[:1] == (REASONING,)}
    return YamlMapping({"kind": tree.get("kind"), **section}, locations)


def lines_of(lines: Sequence[str], *, reasoning: bool) -> list[str]:
    """Return the lines of one form: those between its tags `{% if reasoning %}`, `{% else %}` and `{% endif %}`.

    Each tag is alone on its line. The tags and the lines of the other form become comments; see `without_comments`.

    >>> lines_of(["A", "{% if reasoning %}", "B", "{% else %}", "C", "{% endif %}"], reasoning=True)
    ['A', '{##}', 'B', '{##}', '{##}', '{##}']
    """
    # Of each open `if`, whether its lines are kept; None for one that is not about the form.
    kept: list[bool | None] = []
    found = []
    for line in lines:
        is_tag = True
        if _ON.fullmatch(line) or _OFF.fullmatch(line):
            kept.append(bool(_ON.fullmatch(line)) == reasoning)
        elif kept and kept[-1] is not None and _ELSE.fullmatch(line):
            kept[-1] = not kept[-1]
        elif kept and kept[-1] is not None and _END.fullmatch(line):
            kept.pop()
        else:
            is_tag = False
            opened = len(_OPENS.findall(line)) - len(_CLOSES.findall(line))
            kept += [None] * opened
            del kept[len(kept) + min(opened, 0) :]
        found.append(_DROPPED if is_tag or False in kept else line)
    return found


def without_comments(lines: Sequence[str]) -> list[str]:
    """Return the lines that `lines_of` has kept."""
    return [line for line in lines if line != _DROPPED]
