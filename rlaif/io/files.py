"""Whole files or none: how anything is written to a run's place, on a file system or an object store.

Invariant: a reader never sees a part of a file. On a file system a file is written beside its place, synced and
renamed; on an object store it is one put, which those make whole or not at all.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_url(place: str) -> bool:
    """Whether a place is an fsspec URL such as `s3://bucket/runs` rather than a path."""
    return "://" in place and not place.startswith("file://")


def join(place: str, *parts: str) -> str:
    """Join parts to a path or URL."""
    return "/".join([place.rstrip("/"), *parts])


def filesystem(place: str) -> tuple[Any, str]:
    """Return fsspec's file system of a place and the place's path in it."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UserError(f"{place}: {error}") from None
    return system, path


def write_bytes(place: str, data: bytes) -> None:
    """Write a file whole or not at all, making its folder."""
    if is_url(place):
        system, path = filesystem(place)
        system.pipe_file(path, data)
        return
    with whole_file(place) as temporary:
        temporary.write_bytes(data)


@contextmanager
def whole_file(place: str) -> Iterator[Path]:
    """Give a local path to write to; when the block ends well the file is at `place`, whole."""
    if is_url(place):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "file"
            yield temporary
            system, path = filesystem(place)
            system.put_file(str(temporary), path)
        return
    target = Path(place)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with full_disk_named(place):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_named(place: str) -> Iterator[None]:
    """Name a place in an error that says its disk is full: of a write, the system's own names no file."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = place
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(place: str) -> bytes | None:
    """Return a file's bytes, or None if there is no such file."""
    system, path = filesystem(place)
    try:
        data = system.cat_file(path)
    except FileNotFoundError:
        return None
    return bytes(data)


def write_json(place: str, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write_bytes(place, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(place: str) -> Any:
    """Return a JSON file's value, or None if there is no such file."""
    data = read_bytes(place)
    return None if data is None else json.loads(data)


def names(place: str, suffix: str = "") -> list[str]:
    """Return the sorted names of what lies directly in a folder, hidden and temporary files left out."""
    system, path = filesystem(place)
    try:
        # An object store's listing is cached; another process may have written since.
        system.invalidate_cache()
        entries = system.ls(path, detail=False)
    except FileNotFoundError:
        return []
    found = {str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries}
    return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))


def put_folder(source: str, place: str) -> None:
    """Copy a local folder's files to a place; what makes them count is a manifest that is written after."""
    if is_url(place):
        system, path = filesystem(place)
        for file in sorted(Path(source).iterdir()):
            system.put_file(str(file), f"{path}/{file.name}")
        return
    target = Path(place)
    work = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    # The files' modes are those of new files: a trainer's scratch files are private, a policy is to be read.
    shutil.copytree(source, work, copy_function=shutil.copyfile)
    for file in work.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    shutil.rmtree(target, ignore_errors=True)
    os.replace(work, target)
    _sync_folder(target.parent)


def local_folder(place: str, key: str) -> str:
    """Return a local path of a folder, fetching it once from an object store under a key that names its content."""
    if not is_url(place):
        return place
    from rlaif.io.paths import cache_folder

    target = cache_folder() / "fetched" / key
    if target.is_dir():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = tempfile.mkdtemp(prefix=".fetching-", dir=target.parent)
    os.chmod(work, 0o755)
    system, path = filesystem(place)
    for name in names(place):
        system.get_file(f"{path}/{name}", os.path.join(work, name))
    try:
        os.rename(work, target)
    except OSError:
        shutil.rmtree(work, ignore_errors=True)  # Another process was first.
    return str(target)
