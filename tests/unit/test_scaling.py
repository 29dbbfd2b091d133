"""docs/scaling.md against the plan: its formulas, evaluated here, agree with it within 15%."""

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from rlaif.cli.main import app
from rlaif.planning.hardware import HardwareOptions
from rlaif.planning.memory import GIB
from rlaif.planning.plan import Plan, PlanOptions, make_plan
from rlaif.recipe import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
WITHIN = 0.15
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_PARTS = {
    "weights": "weights", "LoRA adapter": "adapter", "KV cache": "kv_cache", "gradients": "gradients",
    "optimizer": "optimizer", "activations": "activations", "buffers, libraries": "overhead",
}  # fmt: skip


def worked_out(formula: str, symbols: dict[str, float]) -> float:
    """Return the value of an arithmetic formula."""

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Name):
            return symbols[node.id]
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int | float)
        return float(node.value)

    return value(ast.parse(formula, mode="eval").body)


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the first table below a heading."""
    section = PAGE.split(f"{heading}\n", 1)[1]
    (table, *_) = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def symbols() -> dict[str, float]:
    known: dict[str, float] = {}
    for name, formula, _ in rows("### Sizes"):
        known[name.strip("`")] = worked_out(formula.strip("`"), known)
    return known


@pytest.fixture(scope="module")
def plans() -> Iterator[dict[str, Plan]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield {"small": make_plan(load_recipe("llama-8b-8gpu"), PlanOptions()), "large": _large()}


def _large() -> Plan:
    """The plan of the page's command for 1,000 GPUs."""
    command = typer.main.get_command(app).commands["plan"]  # type: ignore[attr-defined]
    (line,) = [line for line in PAGE.replace("\\\n", " ").splitlines() if "--gpus 1000" in line]
    given: dict[str, Any] = command.make_context("plan", shlex.split(line)[2:]).params
    hardware = HardwareOptions(gpus=given["gpus"], nodes=given["nodes"], price=given["price"])
    options = PlanOptions(hardware, given["questions"], given["prompt_tokens"])
    return make_plan(load_recipe(given["recipe"], list(given["set_"])), options)


@pytest.mark.parametrize(
    ("heading", "role"),
    [
        ("### A policy engine, on one GPU", "policy"),
        ("### The judge's engine, on each of its four GPUs", "judge"),
        ("### A training worker, on each of eight GPUs", "training"),
    ],
)
def test_memory_is_that_of_the_calculation(plans: dict[str, Plan], heading: str, role: str) -> None:
    known = symbols()
    (seat,) = [seat for seat in plans["small"].seats if seat.role == role]
    table = list(rows(heading))
    assert {_PARTS[name] for name, _, _ in table} == {part for part in _PARTS.values() if getattr(seat.memory, part)}
    for name, shown, text in table:
        (formula, *_) = re.findall(r"`([^`]+)`", text)
        calculated = worked_out(formula, known)
        assert float(shown) == pytest.approx(calculated, abs=0.006), name
        assert getattr(seat.memory, _PARTS[name]) / GIB == pytest.approx(calculated, rel=WITHIN), name


def test_parameters_are_those_of_the_model(plans: dict[str, Plan]) -> None:
    known, shape = symbols(), plans["small"].seats[0].shape
    assert known["P"] == shape.parameters
    assert known["A"] == shape.lora_parameters(16, "all-linear")
    assert known["Q"] == plans["small"].seats[1].shape.parameters


def test_tokens_that_fit_the_caches_are_those_of_the_page(plans: dict[str, Plan]) -> None:
    known = symbols()
    formulas = re.findall(r"`([^`]+)` bytes", PAGE)
    policy, judge = (worked_out(formula, known) for formula in formulas)
    seats = {seat.role: seat for seat in plans["small"].seats}
    assert (policy, judge) == (seats["policy"].kv_bytes_per_token, seats["judge"].kv_bytes_per_token / 4)
    assert seats["policy"].kv_tokens == pytest.approx(438_000, rel=0.01)


def test_a_round_on_a_thousand_gpus_is_that_of_the_page(plans: dict[str, Plan]) -> None:
    plan = plans["large"]
    last = plan.rounds[-1]
    spent = last.device_seconds
    stages = {
        "sample": (last.sample, spent.sample), "judge": (last.judge[0], spent.judge[0]),
        "train": (last.train, spent.train), "evaluate": (last.evaluate, spent.evaluate),
        "starts, waiting": (last.starts, spent.idle),
    }  # fmt: skip
    for name, time, hours, _ in rows("## 1,000 GPUs and 10 million questions"):
        seconds, device_seconds = stages.pop(name)
        assert float(time.removesuffix(" s")) == pytest.approx(seconds, rel=WITHIN, abs=0.5)
        assert float(hours) == pytest.approx(device_seconds / 3600, rel=WITHIN, abs=0.05)
    assert not stages
    (shown,) = re.findall(r"([\d.]+) hours and ([\d,]+) GPU hours", PAGE)
    assert float(shown[0]) == pytest.approx(plan.seconds / 3600, rel=0.01)
    assert float(shown[1].replace(",", "")) == pytest.approx(plan.hardware.devices * plan.seconds / 3600, rel=0.01)
    assert plan.layout is not None
    (spanning,) = plan.layout.spanning
    assert f"{spanning.count} of the 200 judges" in PAGE


def test_workers_without_a_question_in_a_step_are_reported() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        made = make_plan(load_recipe("llama-8b-8gpu", ["training.questions_per_step=6"]), PlanOptions())
    assert any("2 of 8 training workers are idle" in line for line in made.assumptions)
