"""rlaif: aligns a language model with feedback from an AI judge.

The names below are the public Python interface, defined in `rlaif.api`. They are imported on first use, so that
`import rlaif` and `rlaif --help` start at once.

>>> from rlaif import Question, compare, load_judge
>>> question = Question("q1", "What were sales?", gold_answer="$7 million")
>>> compare(load_judge("reference"), question, "$7 million", "$8 million").side
'a'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlaif.api import (
        compare,
        label,
        load_judge,
        measure,
        merge,
        predict,
        read_labels,
        read_questions,
        run,
        serving,
        train,
    )
    from rlaif.data.labels import Label
    from rlaif.data.question import Question

__version__ = "0.1.0"

__all__ = [
    "Label", "Question", "compare", "label", "load_judge", "measure", "merge", "predict", "read_labels",
    "read_questions", "run", "serving", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("rlaif.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
