"""Checks a model's chat template by its source, without its tokenizer: in milliseconds, before anything starts.

Invariant: a model without a template, and an argument that its template does not use, are each refused with one line.
What cannot be read here, such as a file of a hub that does not answer, is not refused.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from rlaif.errors import UserError
from rlaif.models.builtin import BUILTIN
from rlaif.models.model_files import read_settings
from rlaif.models.resolve import check_model, resolve_model, tokenizer_source

_JINJA_FILE, _CONFIG = "chat_template.jinja", "tokenizer_config.json"
# What transformers gives to every template itself.
_GIVEN = frozenset({"messages", "add_generation_prompt", "raise_exception", "strftime_now"}) | {
    f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
}


class _Generation(Extension):
    """The tag with which templates mark an assistant's tokens; transformers knows it, Jinja alone does not."""

    tags = {"generation"}  # noqa: RUF012 (Jinja declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_chat_template(
    model: str, revision: str | None = None, kwargs: Mapping[str, Any] | None = None, *, key: str
) -> None:
    """Check that a model has a chat template, and that it uses the arguments that are given to it.

    Args:
        key: names the arguments in messages, such as `policy.chat_template_kwargs`.

    Raises:
        UserError: there is no such model, it has no template, or the template does not use an argument.
    """
    if model == BUILTIN and not kwargs:
        return  # It has one; to look would convert the model.
    source = template_source(model, revision)
    if source is None:
        return
    if not source:
        raise UserError(
            f"{model}: no chat template, as of a base model; expected an instruct model, or a {_JINJA_FILE} in its "
            "folder"
        )
    try:
        uses = used_arguments(source)
    except TemplateSyntaxError as error:
        raise UserError(f"{model}: its chat template is not Jinja2: {error.message}") from None
    if unknown := sorted(set(kwargs or {}) - uses):
        names = ", ".join(sorted(uses)) or "no argument"
        raise UserError(f"{key}.{unknown[0]}: the chat template of {model} does not use it; it uses {names}")


def chat_template_sha(model: str, revision: str | None = None) -> str | None:
    """Return the sha256 of a model's chat template; None for the embedded model, and where its files cannot be read."""
    source = None if model == BUILTIN else template_source(model, revision)
    return None if source is None else hashlib.sha256(source.encode()).hexdigest()


def used_arguments(source: str) -> frozenset[str]:
    """Return the names that a template reads and that a caller may give.

    >>> sorted(used_arguments("{% for m in messages %}{{ m }}{% endfor %}{% if enable_thinking %}<think>{% endif %}"))
    ['enable_thinking']
    """
    tree = Environment(extensions=[_Generation, "jinja2.ext.loopcontrols"]).parse(source)
    first: dict[str, str] = {}
    for name in _names(tree):
        first.setdefault(name.name, name.ctx)
    # A variable that the template sets in some branch counts as undeclared too; an argument is read before it is set.
    read_first = {name for name, context in first.items() if context == "load"}
    return frozenset(meta.find_undeclared_variables(tree) & read_first) - _GIVEN


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    """Yield the names of a template in the order in which they are read and set."""
    if isinstance(node, nodes.Name):
        yield node
    children = list(node.iter_child_nodes())
    for child in reversed(children) if isinstance(node, nodes.Assign) else children:
        yield from _names(child)


def template_source(model: str, revision: str | None = None) -> str | None:
    """Return the source of a model's chat template: "" if it has none, None if its files cannot be read here."""
    model, revision = tokenizer_source(model, revision)
    jinja, config = _file(model, revision, _JINJA_FILE), _file(model, revision, _CONFIG)
    if jinja is not None:
        return jinja.read_text(encoding="utf-8")
    if config is None:
        return "" if model == BUILTIN or Path(model).is_dir() else None
    template = read_settings(config).get("chat_template") or ""
    if isinstance(template, list):
        # Several by name; the tokenizer takes this one.
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), "")
    return str(template)


def _file(model: str, revision: str | None, name: str) -> Path | None:
    """Return a file of a model, or None if it is not there or its hub does not answer."""
    if model == BUILTIN or Path(model).is_dir():
        path = Path(resolve_model(model) if model == BUILTIN else model) / name
        return path if path.is_file() else None
    check_model(model, revision)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except (HfHubHTTPError, OSError):
        return None
