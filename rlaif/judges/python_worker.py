"""The process in which a user's judge function runs: a script of its own, which imports nothing of rlaif.

It reads one JSON object a line, first the file to load, then one question each, and answers each with one line.
Invariant: only these lines reach the parent, whatever the user's code prints, and the process ends with its parent.
"""

import json
import numbers
import os
import queue
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any, TextIO

_LONGEST_REASON = 300


def main() -> None:
    """Answer what comes on standard input on what was standard output."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    setting = json.loads(lines.get())
    path, largest = setting["path"], setting["largest"]
    try:
        function = _load(path, setting["source"], setting["function"])
    except BaseException as error:
        _say(answers, json.dumps({"failure": _reason(error, path)}))
        return
    _say(answers, "{}")
    while True:
        request = json.loads(lines.get())
        _say(answers, _answer(function, request, path, largest))


def _read(requests: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    for line in requests:
        lines.put(line)
    # The parent is gone, or wants no more: the user's code must not outlive it.
    os._exit(0)


def _say(answers: TextIO, answer: str) -> None:
    answers.write(answer + "\n")
    answers.flush()


def _load(path: str, source: str, name: str) -> Callable[..., Any]:
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    module = types.ModuleType(f"rlaif_judge_{os.path.basename(path).removesuffix('.py')}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    exec(compile(source, path, "exec"), module.__dict__)
    function = getattr(module, name, None)
    if not callable(function):
        raise TypeError(f"{name} is {type(function).__name__}; expected a function")
    return function  # type: ignore[no-any-return]


def _answer(function: Callable[..., Any], request: Mapping[str, Any], path: str, largest: int) -> str:
    """Return the JSON of the function's answer in the form that a URL answers, or of why there is none."""
    asked = (request["question"], request["candidates"], request["gold_answer"], request["context"])
    try:
        answer = json.dumps({"answer": _plain_answer(function(*asked))})
        if len(answer) > largest:
            raise ValueError(f"an answer of {len(answer):,} bytes; expected at most {largest:,}")
    except BaseException as error:
        return json.dumps({"failure": _reason(error, path)})
    return answer


def _plain_answer(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _plain(value) if {"scores", "preferences"} & set(value) else {"preferences": _nested(value)}
    value = _plain(value)
    if isinstance(value, list):
        return {"preferences" if any(isinstance(row, list) for row in value) else "scores": value}
    # Refused where all answers are read.
    return value


def _nested(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `{(i, j): p}` as `{i: {j: p}}`; a mapping of another form stays as it is, to be refused."""
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(key, tuple) and len(key) == 2:
            found.setdefault(str(key[0]), {})[str(key[1])] = _plain(value)
        else:
            found[str(key)] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of any library as numbers, sequences as lists."""
    if value is None or isinstance(value, int | float | str):
        return float(value) if isinstance(value, float | bool) else value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _shown(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _reason(error: BaseException, path: str) -> str:
    """Return an exception's last line and the place in the user's file that it came from."""
    lines = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if line.strip()]
    text = " ".join(lines[-1].split())
    text = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if frame.filename == path] or frames
    return f"{text} ({own[-1].filename}:{own[-1].lineno})" if own else text


if __name__ == "__main__":
    main()
