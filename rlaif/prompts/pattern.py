"""Regular expressions that find a verdict in a text: their one group captures it."""

import re
import warnings


def check_pattern(pattern: str) -> str:
    """Return a pattern with exactly one group; raise ValueError for any other text."""
    try:
        with warnings.catch_warnings():
            # "[[A]]" without backslashes is a set, about which Python only warns.
            warnings.simplefilter("error", FutureWarning)
            groups = re.compile(pattern).groups
    except FutureWarning as warning:
        raise ValueError(f"{str(warning).lower()}; expected a backslash before a literal bracket") from None
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{groups} groups; expected exactly one, around the verdict, such as '\\[\\[(A|B)\\]\\]'")
    return pattern


def captured_part(pattern: str) -> str | None:
    """Return the source of a pattern's one group, or None where it is no pattern by itself.

    >>> captured_part(r"Output \\(([ab])\\)")
    '[ab]'
    """
    inside_set = False
    position = 0
    opened: list[int] = []
    while position < len(pattern):
        sign = pattern[position]
        if sign == "\\":
            position += 1
        elif inside_set:
            # A bracket that comes first in a set is one of its characters.
            inside_set = sign != "]" or pattern[position - 1] == "[" or pattern[position - 2 : position] == "[^"
        elif sign == "[":
            inside_set = True
        elif sign == "(":
            named = re.match(r"\(\?P<\w+>", pattern[position:])
            captures = bool(named) or not pattern.startswith("(?", position)
            opened.append(position + (named.end() if named else 1) if captures else -1)
        elif sign == ")":
            start = opened.pop()
            if start >= 0:
                part = pattern[start:position]
                return part if _compiles(part) else None
        position += 1
    return None


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|.", re.DOTALL)


def plainest_match(pattern: str, choice: str) -> str | None:
    """Return a text that a pattern matches with a choice in its group, or None where none is easily made.

    >>> plainest_match(r"(?i)verdict:\\s*\\[\\[([AB])\\]\\]", "A")
    'verdict:[[A]]'
    """
    part = captured_part(pattern)
    if part is None:
        return None
    before, _, after = pattern.partition(f"({part})")
    text = _plain(re.sub(r"^\(\?[a-zA-Z]+\)", "", before)) + choice + _plain(after)
    return text if re.search(pattern, text) else None


def _plain(pattern: str) -> str:
    """Return the text of a pattern without its optional parts, and with escaped characters as themselves."""
    atoms = [match.group() for match in _ATOM.finditer(pattern)]
    text = ""
    for index, atom in enumerate(atoms):
        following = atoms[index + 1] if index + 1 < len(atoms) else ""
        if following in ("*", "?") or atom in ("*", "?", "+", "^", "$", "\\b"):
            continue
        text += atom[1:] if len(atom) == 2 and atom[0] == "\\" else atom
    return text
