"""Labels and verdicts for tests of judge reports."""

from rlaif.data.labels import Label, Side
from rlaif.judge_evals.judge_report import Measurement
from rlaif.judge_evals.judging import JudgedLabel
from rlaif.judges.decisions import decide_by_orders
from rlaif.judges.judge import Order, Verdict

SHA = "0" * 64
Said = float | None | str
"""P(answer_a) of a verdict, or `unparsed`, `error`; None is a tie."""


def label(name: str, human: Side = "a", a: str = "a long answer", b: str = "short", question: str = "") -> Label:
    return Label(id=name, question=question or f"question {name}", answer_a=a, answer_b=b, human=human)


def verdict(name: str, order: Order, said: Said) -> Verdict:
    if isinstance(said, str):
        status = "unparsed" if said == "unparsed" else "error"
        return Verdict(name, 0, 1, status, None, None, said, "judge", SHA, order=order, seconds=1.0)
    if said is None:
        return Verdict(name, 0, 1, "tie", None, None, "tie", "judge", SHA, order=order, seconds=1.0)
    return Verdict(name, 0, 1, "ok", said, None, "", "judge", SHA, order=order, prompt_tokens=10, seconds=1.0)


def judged(item: Label, ab: Said, ba: Said) -> JudgedLabel:
    verdicts = (verdict(item.id, "ab", ab), verdict(item.id, "ba", ba))
    (decision,) = decide_by_orders(verdicts, ("ab", "ba"))
    return JudgedLabel(item, verdicts, decision)


def value(found: Measurement, name: str) -> float:
    everything = {**found.figures, **(found.judges[0].figures if found.judges else {})}
    estimate = everything[name].value
    assert estimate is not None
    return estimate
