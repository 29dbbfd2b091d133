"""The example loop runs on the real parts, and its gate never lets the held-out score fall."""

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.loop import align
from rlaif.recipe import load_recipe

SMALL = Path(__file__).parents[1] / "e2e" / "small.yaml"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_the_loop_samples_judges_trains_and_gates(tmp_path: Path) -> None:
    recipe = load_recipe(str(SMALL), ["rounds.count=1", "rounds.gate.max_drop=0.0"])
    scores = asyncio.run(align(recipe, str(tmp_path)))
    assert len(scores) == 2
    assert scores == sorted(scores)
    round_0 = tmp_path / recipe.name / "round-000"
    pairs = pq.read_table(round_0 / "pairs.parquet").num_rows
    assert (round_0 / "policy" / "adapter_model.safetensors").is_file() == (pairs > 0)
