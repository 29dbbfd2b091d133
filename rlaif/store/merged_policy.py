"""`rlaif merge`: plain weights of a policy that is an adapter, with a record of what they were made of.

Invariant: the output folder appears whole, with its `merge.json`, or not at all.
"""

from pathlib import Path

from rlaif.errors import UserError
from rlaif.io.files import is_url, local_folder, new_folder
from rlaif.models.adapter import Adapter, is_adapter, read_adapter
from rlaif.models.merge import merge_adapter
from rlaif.models.resolve import check_model, file_sha256, find_adapter, is_path, resolve_model, weights_id
from rlaif.recipe import stored_recipe
from rlaif.store.records.merge_record import MergeRecord
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.store.rundir import RunDir, find_run

_NOTHING = "whole weights, which transformers and vLLM load as they are; there is no adapter to merge"


def merge_policy(policy: str, out: str, *, runs: str = "runs") -> MergeRecord:
    """Write a policy's plain weights with its tokenizer, config and chat template into a new folder.

    Args:
        policy: an adapter's folder or hub id, a round's folder, or a run, whose current policy is taken, by its name in
            `runs`, its path or its URL.
        out: folder to make.

    Raises:
        UserError: there is no such policy, its weights are whole already, or `out` exists.
    """
    target = Path(out)
    if target.exists():
        raise UserError(f"{out}: already exists; name a new folder for the merged weights")
    adapter = _find(policy, runs)
    check_model(adapter.folder)
    base = resolve_model(adapter.base, adapter.base_revision)
    with new_folder(target) as work:
        merge_adapter(adapter, base, work)
        record = MergeRecord(
            adapter=adapter.name,
            adapter_id=weights_id(adapter.folder),
            base=BaseModelRecord(model=adapter.base, id=weights_id(base)),
            id=weights_id(str(work)),
            files={path.name: file_sha256(str(path)) for path in sorted(work.iterdir())},
        )
        record.write(str(work / "merge.json"))
    return record


def _find(policy: str, runs: str) -> Adapter:
    for folder in (Path(policy), Path(policy, "policy")):
        if folder.is_dir() and is_adapter(str(folder)):
            return read_adapter(str(folder.resolve()), str(folder))
        if (folder / "config.json").is_file():
            raise _whole(str(folder))
    run = RunDir(policy if is_path(policy) or is_url(policy) else f"{runs}/{policy}")
    may_be_hubs = policy.count("/") == 1 and not is_path(policy)
    if may_be_hubs and run.record() is None and (adapter := find_adapter(policy)) is not None:
        return adapter
    return _of_run(find_run(policy, runs))


def _of_run(run: RunDir) -> Adapter:
    """Return the adapter that is a run's current policy."""
    begun = run.record()
    assert begun is not None
    current, _ = run.current_policy(begun.policy.id, 10_000)
    if current.kind == "full":
        raise _whole(current.folder)
    if current.kind == "lora":
        return read_adapter(local_folder(current.folder, current.id), current.folder)
    recipe = stored_recipe(run.recipe_text() or "", run.path("recipe.yaml"))
    if (adapter := find_adapter(recipe.policy.model, recipe.policy.revision)) is not None:
        return adapter
    raise UserError(f"{run.root}: its current policy is the initial one, {begun.policy.model}: {_NOTHING}")


def _whole(folder: str) -> UserError:
    return UserError(f"{folder}: {_NOTHING}")
