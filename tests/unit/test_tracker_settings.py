"""Settings of trackers: what a recipe may say, and what is refused before anything starts."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.recipe import load_recipe
from rlaif.recipe.tracking import TrackerSection
from rlaif.tracking.tracker import check_trackers


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.tracking.tracker.find_spec", lambda name: None if name == "mlflow" else find_spec(name))
    with pytest.raises(UserError, match=r'^tracking: mlflow is not installed; run: pip install "rlaif\[mlflow\]"$'):
        check_trackers([TrackerSection(name="mlflow")], "runs/small")


def test_wandb_without_a_key_is_refused_rather_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()
    try:
        with pytest.raises(UserError, match="tracking: wandb has no key here; run `wandb login`"):
            check_trackers([TrackerSection(name="wandb", uri="https://wandb.example.org")], "runs/small")
        monkeypatch.setenv("WANDB_MODE", "offline")
        wandb.teardown()
        check_trackers([TrackerSection(name="wandb")], "runs/small")
    finally:
        wandb.teardown()


def test_tensorboard_in_an_object_store_needs_a_folder() -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(UserError, match="expected a folder as its uri"):
        check_trackers([TrackerSection(name="tensorboard")], "s3://bucket/small")
    with pytest.raises(UserError, match="cannot append to files in s3://bucket/logs"):
        check_trackers([TrackerSection(name="tensorboard", uri="s3://bucket/logs")], "runs/small")
    check_trackers([TrackerSection(name="tensorboard", uri="logs")], "s3://bucket/small")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[wandb, wandb]", "wandb is named twice"),
        ("[neptune]", "'wandb', 'mlflow', 'tensorboard' or 'trackio'"),
        ("[{name: tensorboard, project: ours}]", "TensorBoard has none"),
        ("[{name: mlflow, uri: 'postgresql://me:secret@host/db'}]", "holds a password"),
    ],
)
def test_a_recipe_with_a_wrong_tracker_is_refused(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load_recipe("demo", [f"tracking={given}"])
    assert "secret" not in str(raised.value)


def test_a_recipe_names_trackers_alone_or_as_sections() -> None:
    trackers = load_recipe("demo", ["tracking=[tensorboard, {name: wandb, project: ours}]"]).tracking
    assert trackers == (TrackerSection(name="tensorboard"), TrackerSection(name="wandb", project="ours"))
