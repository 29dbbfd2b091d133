"""The spec of a judge that calls a function in a Python file of the user's.

Invariant: reading the judge file reads the Python file and never runs it; what runs later is the text that was read.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlaif.errors import Fault, UserError
from rlaif.judges.own_judge import OwnSpec
from rlaif.judges.spec import KeyFault

_ARGUMENTS = ("question", "candidates", "gold_answer", "context")


class PythonSpec(OwnSpec):
    """A function of yours, which scores or compares all candidates of a question."""

    kind: Literal["python"]
    file: str = Field(min_length=1)
    """The Python file: its path from the judge file or the working directory."""
    function: str = Field(default="judge", pattern=r"^[A-Za-z_]\w*$")
    """Its function `judge(question, candidates, gold_answer, context)`."""
    processes: int = Field(default=2, ge=1, le=256)
    """Processes that run it, each for one question at a time."""
    timeout: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds for one question. A process that takes longer is killed and replaced, and its question is an error."""
    load_timeout: float = Field(default=300.0, gt=0, le=86_400)
    """Seconds in which the file must be loaded, with all that it imports."""

    _file: Path = PrivateAttr()
    _bytes: bytes = PrivateAttr(default=b"")

    def _resolve(self) -> None:
        paths = (Path(self.file), self.path.parent / self.file)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise KeyFault("file", f"{self.file}: no such file")
        self._file = path
        try:
            self._bytes = path.read_bytes()
            self._check(ast.parse(self.source, str(path)))
        except OSError as error:
            raise KeyFault("file", f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise KeyFault("file", f"{path} is not UTF-8 at byte {error.start}") from None
        except SyntaxError as error:
            raise UserError(Fault(str(path), f"not Python: {error.msg}", error.lineno)) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise KeyFault("file", f"{path} is not Python: {error}") from None

    def _check(self, module: ast.Module) -> None:
        """Refuse a file without the function, or with one that cannot be called as it will be."""
        named = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        found = next((node for node in reversed(named) if node.name == self.function), None)
        if found is None:
            if self.function not in _bound(module):
                raise KeyFault("function", f"{self._file} has no function {self.function}")
            return
        if found.decorator_list:
            # What is called is what the decorators return.
            return
        where = Fault(str(self._file), line=found.lineno, field=self.function)
        if isinstance(found, ast.AsyncFunctionDef):
            raise UserError(replace(where, expected="a plain function", found="an async one"))
        positional = [*found.args.posonlyargs, *found.args.args]
        required = len(positional) - len(found.args.defaults)
        fits = required <= len(_ARGUMENTS) and (found.args.vararg is not None or len(positional) >= len(_ARGUMENTS))
        if not fits or any(default is None for default in found.args.kw_defaults):
            raise UserError(replace(where, expected=f"the arguments {', '.join(_ARGUMENTS)}, by position"))

    def _deciding(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "file": hashlib.sha256(self._bytes).hexdigest(),
            "function": self.function,
            "version": self.version,
        }

    def describe(self) -> dict[str, Any]:
        facts = super().describe()
        return {**facts, "file": self.file, "file_sha": facts["file"]}

    @property
    def asks(self) -> str:
        return f"{self.function} of {self._file}"

    @property
    def source(self) -> str:
        """The file's text, as it was read with the judge file."""
        return self._bytes.decode("utf-8-sig")

    @property
    def python_file(self) -> Path:
        """Path of the Python file."""
        return self._file

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        return super().files | {("judges", self._file)}


def _bound(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module may assign or import."""
    for node in ast.walk(module):
        if isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
