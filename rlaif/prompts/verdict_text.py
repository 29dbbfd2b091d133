"""Reads a choice or a rating from the free text of a judge's model.

Invariant: no text raises, and a text that is not plainly a verdict is `unparsed`. What is read is the model's own
words: its thinking is cut off, and a line that begins with the mark of a quotation holds an answer's words, so a
verdict that an answer forges cannot come back. Markdown's emphasis, headings and list numbers make no difference.

Of choices, the last sentence that names one is read. It is no verdict if it names two, if it denies or compares its
choice ("(b) does not ...", "better than (b)"), if it only describes an answer, or if the text takes it back afterwards.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rlaif.chat import visible_answer
from rlaif.prompts.reading import UNPARSED, Reading

Place = Literal["anywhere", "end", "line"]
"""Where a text has its verdict: in the last sentence that names a choice, in the last sentence, or on its own line."""


def read_choice(
    text: str, pattern: re.Pattern[str], readings: Mapping[str, Reading], place: Place = "anywhere"
) -> Reading:
    """Read the choice that a pattern's one group captures in a text's verdict; case and outer white space are ignored.

    If that is none of the choices it is `unparsed`, never an earlier match: a model that ends with a choice that was
    not offered has not chosen one that it named on the way.
    """
    words = _own_words_of(text)
    # A pattern may ask for Markdown's marks itself.
    for form in (_plain(words), words):
        matches = list(pattern.finditer(form))
        if matches:
            marked = _MARK.search(pattern.pattern) is not None
            choice = _chosen(form, matches, [*readings], place, marked=marked)
            return {name.casefold(): reading for name, reading in readings.items()}.get(choice.casefold(), UNPARSED)
    return UNPARSED


def read_number(text: str, scale: tuple[float, float], pattern: re.Pattern[str] | None = None) -> Reading:
    """Read the rating that a pattern's one group captures last or, without a pattern, the rating that a text gives.

    That is the number after the last word such as "score" or "rating", else the one number of the last sentence with
    any. The scale's own end ("out of 5", "4/5", "on a scale of 1 to 5") is no number of the text. A range, a date, a
    percentage, a count ("1 fact was wrong") or a deduction is no rating.
    """
    words = _without_scale(_plain(_own_words_of(text)), scale)
    if pattern is None:
        number = _rating(words)
    else:
        number = next(reversed([match.group(1) or "" for match in pattern.finditer(words)]), "").strip()
    if not _NUMBER.fullmatch(number):
        return UNPARSED
    value = float(number.replace("−", "-"))
    return Reading("ok", value) if scale[0] <= value <= scale[1] else UNPARSED


def own_words(text: str) -> str:
    """Return the text of a judge's model with the lines emptied that quote an answer."""
    return "\n".join("" if line.lstrip().startswith(_QUOTES) else line for line in text.splitlines())


# Ours, its full-width form, and Markdown's.
_QUOTES = ("|", "｜", ">")
_FOLDED: dict[int, Any] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    0x3000: " ",
    **dict.fromkeys(map(ord, "【〔〖〘〚「『《〈⟦⟨｢"), "["),
    **dict.fromkeys(map(ord, "】〕〗〙〛」』》〉⟧⟩｣"), "]"),
    **dict.fromkeys(map(ord, "⁄∕"), "/"),
    **dict.fromkeys(map(ord, "*`#\ufeff"), None),
}
_LIST_MARK = re.compile(r"^[ \t]*(?:\(?\d{1,2}[.)]|[-–•])[ \t]+(?=\S)", re.MULTILINE)
_FINAL = re.compile(
    r"^([ \t]*)(?:(?:my|the|our)[ \t]+)?(?:final|overall)[ \t]+(?=[a-z]+[ \t]*[:\n=-])", re.MULTILINE | re.I
)
_HEADING = re.compile(r"^([^\n\[\]:]{1,30}):?[ \t]*\n\s*(?=\[)", re.MULTILINE)


def _own_words_of(text: str) -> str:
    return own_words(visible_answer(text) or "")


def _plain(words: str) -> str:
    """Return a text without Markdown, full-width characters and list numbers, a heading before its bracket.

    A model that writes in another language may put its choice in that language's brackets or full-width letters.
    """
    plain = _LIST_MARK.sub("", words.translate(_FOLDED))
    return _HEADING.sub(r"\1: ", _FINAL.sub(r"\1", plain))


# A pattern with one of these finds what stands for nothing but a verdict; others find an answer's name.
_MARK = re.compile(
    r"\\\[\\\[|\^|verdict|choice|winner|decision|final|result|conclusion|better|best|prefer", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<!\bvs)(?<!\bcf)(?<!\be\.g)(?<!\bi\.e)(?<!\bNo)[.!?][\"'”’)]*\s+|\n+")
_CLAUSE = re.compile(r"[,;:—]|\s[-–]\s")
_DENIES = re.compile(
    r"\b(?:not|never|neither|nor|cannot|than|over|against|either|both|instead|rather|reject\w*|worse|worst|inferior|weaker"
    r"|fail\w*|lack\w*|los(?:es?|t)|less|unlike|no|wrong|hard|difficult|equally|between|only|could|might|unless)\b|n[’']t\b",
    re.IGNORECASE,
)
_PREFERS = re.compile(
    r"\b(?:better|best|prefer\w*|choos\w*|chos\w*|choice|select\w*|pick\w*|winner|wins?|superior|favou?r\w*|stronger|verdict"
    r"|recommend\w*|decision|more|most|go with|answer is|ahead)\b",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\b(?:therefore|thus|so|hence|then|final|answer|the|my|is|it|output|response|assistant|in|conclusion|i|say)\b|[\W_]",
    re.IGNORECASE,
)
_BARE_DENIAL = re.compile(r"(?:\b(?:not|never|neither|nor|than|either|instead of|over)|n[’']t)\W*$", re.IGNORECASE)
_DENIED_NEXT = re.compile(
    r"\W*(?:(?:is|was|does|do|did|would|could|can|should|will|has)\b\s*)?(?:not|n[’']t|never|wrong|worse)\b|n[’']t\b",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"\b(?:wait|actually|on (?:second|further|closer) (?:thought|reflection|look|reading)|on reflection|scratch that"
    r"|correction|tak(?:e|ing) (?:that|it|this) back|let me re\w+|i (?:was|am) (?:wrong|mistaken)"
    r"|chang(?:e|ed|ing) my (?:mind|verdict|answer)|disregard|that (?:is|was) (?:wrong|a mistake)|strike that)\b",
    re.IGNORECASE,
)
_LONGEST_VERDICT_LINE = 60


def _chosen(text: str, matches: list[re.Match[str]], choices: Sequence[str], place: Place, *, marked: bool) -> str:
    """Return what the last sentence with a match chooses; "" if it is no verdict."""
    last = matches[-1]
    start = max((end.end() for end in _SENTENCE_END.finditer(text, 0, last.start())), default=0)
    ending = _SENTENCE_END.search(text, last.end())
    stop = ending.start() if ending else len(text)
    in_sentence = [match for match in matches if match.start() >= start]
    named = {(match.group(1) or "").strip().casefold() for match in in_sentence}
    if len(named | _named_alike(text[start:stop], last, choices)) > 1:
        return ""
    after_it = text[stop:]
    if _TAKES_BACK.search(after_it) or (place == "end" and re.search(r"\w", after_it)):
        return ""
    if place == "line" and ("\n" in text[start : last.start()].strip() or stop - start > _LONGEST_VERDICT_LINE):
        return ""
    before, after = text[start : in_sentence[0].start()], text[last.end() : stop]
    if marked:
        denied = _BARE_DENIAL.search(before) or _DENIED_NEXT.match(after)
        return "" if denied else (last.group(1) or "").strip()
    return (last.group(1) or "").strip() if _prefers(before, after) else ""


def _named_alike(sentence: str, match: re.Match[str], choices: Sequence[str]) -> set[str]:
    """Return the choices that a sentence has between the same signs as a match, such as "[[" and "]]"."""
    whole, (begin, end) = match.group(), match.span(1)
    opening = re.search(r"[^\w\s]*$", whole[: begin - match.start()])
    closing = re.match(r"[^\w\s]*", whole[end - match.start() :])
    if begin < 0 or not opening or not opening.group() or not closing or not closing.group():
        return set()
    alike = rf"{re.escape(opening.group())}\s*({'|'.join(map(re.escape, choices))})\s*{re.escape(closing.group())}"
    return {found.casefold() for found in re.findall(alike, sentence, re.IGNORECASE)}


def _prefers(before: str, after: str) -> bool:
    """Return whether the words around an answer's name prefer that answer."""
    clause = _CLAUSE.split(before)[-1]
    if _DENIES.search(clause):
        return False
    denial, preference = _DENIES.search(after), _PREFERS.search(after)
    if denial and not (preference and preference.start() < denial.start()):
        return False
    return bool(preference or _PREFERS.search(clause) or not _FILLER.sub("", before + after))


# A run of digits and what may stand between them, so that a range, a date or "1,204" is one run and no rating.
_RUN = r"(?<![^\W_])[-+−]?[0-9](?:[0-9.,/:%–—−-]*[0-9])?%?(?![^\W_])"
_NUMBERS = re.compile(_RUN)
_NUMBER = re.compile(r"[-+−]?[0-9]+(?:\.[0-9]+)?")
_RATED = re.compile(
    rf"\b(?:score|rating|rate|rated|grade|mark|verdict)s?\b(?:\s+(?:it|this|the|answer|is|of|as|at|be|would|a|an|with))*"
    rf"[^\w\n+−-]*(?P<number>{_RUN})(?P<more>\s*(?:or|to|and|[-–])\s*[0-9])?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rf"\bbetween\s+{_RUN}\s+and\s+{_RUN}", re.IGNORECASE)
_DEDUCTS = re.compile(
    r"\b(?:deduct\w*|subtract\w*|minus|los(?:es?|ing)|tak(?:e|ing) (?:off|away)|remov\w+|dock\w*)\b", re.I
)
# Words after a number that do not make it a count of something.
_NOT_COUNTED = re.compile(
    r"\W*$|\s*[^\w\s]|\s+(?:because|since|as|for|stars?|points?|due|given|is|overall)\b", re.IGNORECASE
)


def _rating(words: str) -> str:
    words = _BETWEEN.sub(" ", words)
    rated = next(reversed(list(_RATED.finditer(words))), None)
    if rated:
        return "" if rated["more"] else rated["number"]
    sentences = [sentence for sentence in _SENTENCE_END.split(words) if _NUMBERS.search(sentence)]
    if not sentences:
        return ""
    numbers = list(_NUMBERS.finditer(sentences[-1]))
    if len(numbers) > 1 or _DEDUCTS.search(sentences[-1]) or not _NOT_COUNTED.match(sentences[-1], numbers[0].end()):
        return ""
    return numbers[0].group()


def _without_scale(words: str, scale: tuple[float, float]) -> str:
    """Return a text without what it says of the scale: "out of a possible 5", "/5", "on a scale of 1 to 5"."""
    low, high = (rf"{re.escape(f'{end:g}')}(?:\.0+)?(?![\d.,]*\d)" for end in scale)
    to = r"\s*(?:to|through|and|[-–—])\s*"
    for said in (
        rf"(?:\b(?:on|in|using|from|by)\s+)?(?:\b(?:a|the|this)\s+)?\bscale\s+(?:of|from)?\s*(?:{low}{to})?{high}",
        rf"\(\s*{low}{to}{high}\s*\)",
        rf"\s*(?:/|\bout\s+of\b|(?<=\d)\s+of\b)\s*(?:an?\s+)?(?:(?:possible|maximum|total|max)\s+(?:of\s+)?)?{high}",
    ):
        words = re.sub(said, "", words, flags=re.IGNORECASE)
    return words
