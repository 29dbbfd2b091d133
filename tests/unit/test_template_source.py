"""A model without a chat template, and an argument that a template does not use, are refused before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.models.chat_template import check_chats
from rlaif.models.template_source import check_chat_template, template_source, used_arguments
from tests.chat_templates import GEMMA, LLAMA3, QWEN3, TEMPLATES, byte_tokenizer

NO_TEMPLATE = (
    "{folder}: no chat template, as of a base model; expected an instruct model, or a chat_template.jinja in its folder"
)


def model(folder: Path, template: str | None) -> str:
    """Write a model's config and tokenizer, without weights."""
    byte_tokenizer(template).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096}))
    return str(folder)


def refused(*arguments: str) -> str:
    """Return the one line by which a command refuses its arguments."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.stderr.strip().removeprefix("rlaif: ")


@pytest.mark.parametrize(
    ("template", "uses"),
    [
        (QWEN3, {"enable_thinking"}), (GEMMA, set()), (LLAMA3, {"date_string"}),
        ("{% generation %}{{ tools }}{% endgeneration %}{% if x %}{% break %}{% endif %}", {"tools", "x"}),
    ],
)  # fmt: skip
def test_the_arguments_that_a_template_uses(template: str, uses: set[str]) -> None:
    assert used_arguments(template) == uses


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_source_is_the_tokenizers(name: str, tmp_path: Path) -> None:
    assert template_source(model(tmp_path, TEMPLATES[name])) == TEMPLATES[name]


def test_the_source_of_older_forms(tmp_path: Path) -> None:
    folder = model(tmp_path, None)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    several = [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]
    for written, source in ((None, ""), ("text", "text"), (several, "D")):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": written}))
        assert template_source(folder) == source
    (tmp_path / "chat_template.jinja").write_text("J")
    assert template_source(folder) == "J"


def test_a_template_that_is_not_jinja_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path, "{% if %}")
    with pytest.raises(UserError, match=f"^{folder}: its chat template is not Jinja2: "):
        check_chat_template(folder, key="policy.chat_template_kwargs")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A recipe and the files of the other commands."""
    texts = {
        "questions.jsonl": '{"id": "1", "question": "What was revenue?", "gold_answer": "$1"}\n',
        "heldout.jsonl": '{"id": "2", "question": "What was profit?", "gold_answer": "$2"}\n',
        "pairs.jsonl": json.dumps(
            {
                "prompt": [{"role": "user", "content": "Revenue?"}],
                "chosen": [{"role": "assistant", "content": "$1"}],
                "rejected": [{"role": "assistant", "content": "$2"}],
            }
        ),
        "candidates.jsonl": '{"question": "Revenue?", "answers": ["$1", "$2"]}\n',
        "judge.yaml": "kind: llm\nprompt: helpfulness\nbackend: {type: vllm}\n",
        "thinking.yaml": "kind: llm\nprompt: helpfulness\n"
        "backend: {type: vllm, chat_template_kwargs: {enable_thinkin: false}}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "recipe.yaml").write_text(
        f"policy: {{model: {tmp_path}/model}}\njudge: {{name: reference}}\n"
        f"questions: {{train: {{type: file, path: {tmp_path}/questions.jsonl}}, "
        f"heldout: {{type: file, path: {tmp_path}/heldout.jsonl}}}}\n"
    )
    return {name: str(tmp_path / name) for name in (*texts, "recipe.yaml", "out", "out.parquet", "out.csv", "model")}


def commands(files: dict[str, str], *overrides: str) -> list[list[str]]:
    model, sets = files["model"], [word for override in overrides for word in ("--set", override)]
    return [
        ["run", files["recipe.yaml"], "--runs", files["out"], *sets],
        ["predict", "--policy", model, "--questions", files["questions.jsonl"], "-o", files["out.csv"], *sets],
        ["train", files["pairs.jsonl"], "--policy", model, "-o", files["out"], *sets],
    ]


def test_every_command_refuses_a_base_model_before_anything_starts(files: dict[str, str]) -> None:
    folder = model(Path(files["model"]), None)
    label = ["label", files["candidates.jsonl"], "--judge", files["judge.yaml"], "--model", folder]
    for arguments in [*commands(files), [*label, "-o", files["out.parquet"]]]:
        assert refused(*arguments) == NO_TEMPLATE.format(folder=folder), arguments
    assert not Path(files["out"]).exists()


@pytest.mark.parametrize("value", ["{enable_thinkin: false}", "{enable_thinking: false, messages: []}"])
def test_every_command_refuses_an_argument_that_the_template_does_not_use(files: dict[str, str], value: str) -> None:
    folder = model(Path(files["model"]), QWEN3)
    wrong = "messages" if "messages" in value else "enable_thinkin"
    for arguments in commands(files, f"policy.chat_template_kwargs={value}"):
        assert refused(*arguments) == (
            f"policy.chat_template_kwargs.{wrong}: the chat template of {folder} does not use it; "
            "it uses enable_thinking"
        )
    assert not Path(files["out"]).exists()


def test_a_judges_argument_is_refused_too(files: dict[str, str]) -> None:
    folder, judge = model(Path(files["model"]), QWEN3), files["thinking.yaml"]
    wrong = f"{judge}: backend.chat_template_kwargs.enable_thinkin: the chat template of {folder} does not use it; "
    label = ["label", files["candidates.jsonl"], "--judge", judge, "--model", folder, "-o", files["out.parquet"]]
    run = ["run", files["recipe.yaml"], "--runs", files["out"], "--set", f"judge.name={judge}"]
    for arguments in (label, run):
        assert refused(*arguments) == wrong + "it uses enable_thinking"


def judge_sha(tmp_path: Path, **backend: Any) -> str:
    from rlaif.judges.judge_file import load_judge_file

    path = tmp_path / "judge.yaml"
    path.write_text(f"kind: llm\nprompt: helpfulness\nbackend: {json.dumps({'type': 'vllm', **backend})}\n")
    return load_judge_file(str(path)).sha


def test_a_judges_arguments_are_part_of_its_identity(tmp_path: Path) -> None:
    plain = judge_sha(tmp_path)
    assert judge_sha(tmp_path, chat_template_kwargs={}) == plain
    assert judge_sha(tmp_path, chat_template_kwargs={"enable_thinking": False}) != plain


def test_files_of_a_model_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    folder = model(tmp_path, QWEN3)
    (tmp_path / "chat_template.jinja").unlink()
    for written, says in (("{", "not JSON"), ("[]", "not a JSON object")):
        (tmp_path / "tokenizer_config.json").write_text(written, encoding="utf-8")
        with pytest.raises(UserError, match=rf"tokenizer_config.json: {says}[^\n]+$"):
            check_chat_template(folder, key="policy.chat_template_kwargs")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"its tokenizer cannot be read: [^\n]+$"):
        check_chats(folder, None, {}, [("question q", [{"role": "user", "content": "Quid est?"}])])
