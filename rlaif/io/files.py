"""Files written whole or not at all, on a file system or an object store. Each path may be an fsspec URL.

Invariant: a reader never sees a part of a file. On a file system a file is written under a temporary name, synced and
renamed; on an object store it is one put, which the store makes atomic.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors import UserError, is_disk_full


def is_url(path: str) -> bool:
    """Return whether a path is an fsspec URL such as `s3://bucket/runs`."""
    return "://" in path and not path.startswith("file://")


def join(path: str, *parts: str) -> str:
    """Join parts to a path or URL."""
    return "/".join([path.rstrip("/"), *parts])


def filesystem(path: str) -> tuple[Any, str]:
    """Return fsspec's file system of a path, and the path inside it."""
    import fsspec

    try:
        system, inner = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    return system, inner


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole or not at all, and create its folder."""
    if is_url(path):
        system, inner = filesystem(path)
        system.pipe_file(inner, data)
    else:
        with whole_file(path) as temporary:
            temporary.write_bytes(data)


@contextmanager
def whole_file(path: str) -> Iterator[Path]:
    """Yield a local path to write to; when the block ends without an error, the whole file is at `path`."""
    if is_url(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "file"
            yield temporary
            system, inner = filesystem(path)
            system.put_file(str(temporary), inner)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with full_disk_named(path):
            yield temporary
            _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: str) -> Iterator[None]:
    """Add a path to a full-disk error: the system's error of a write names no file."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error) and error.filename is None:
            error.filename = path
        raise


def _sync(path: Path) -> None:
    """Wait until the content of a file or the entries of a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: str) -> bytes | None:
    """Return a file's bytes, or None if there is no such file."""
    system, inner = filesystem(path)
    try:
        return bytes(system.cat_file(inner))
    except FileNotFoundError:
        return None


def write_json(path: str, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: str) -> Any:
    """Return a JSON file's value, or None if there is no such file."""
    data = read_bytes(path)
    return None if data is None else json.loads(data)


def names(path: str, suffix: str = "") -> list[str]:
    """Return the sorted names of a folder's entries, without hidden and temporary files."""
    system, inner = filesystem(path)
    try:
        # An object store's listing is cached; another process may have written since.
        system.invalidate_cache()
        entries = system.ls(inner, detail=False)
    except FileNotFoundError:
        return []
    found = {str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries}
    return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))


@contextmanager
def new_folder(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside a path; when the block ends without an error, the whole folder is at the path.

    Args:
        shared: several processes may make the same folder, and the first one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    work.chmod(0o755)
    try:
        yield work
        for file in work.iterdir():
            _sync(file)
        try:
            work.rename(path)
        except OSError:
            if not (shared and path.is_dir()):
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def put_folder(source: str, path: str) -> None:
    """Copy a local folder's files to `path`; the caller then writes the manifest that makes them count."""
    if is_url(path):
        system, inner = filesystem(path)
        for file in sorted(Path(source).iterdir()):
            system.put_file(str(file), f"{inner}/{file.name}")
        return
    target = Path(path)
    work = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    # With the modes of new files: a trainer's scratch files are private, but others read a policy.
    shutil.copytree(source, work, copy_function=shutil.copyfile)
    for file in work.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(work, target)
    _sync(target.parent)


def remove_folder(path: str) -> None:
    """Remove a folder at a path or URL with all in it, if there is one."""
    system, inner = filesystem(path)
    if system.exists(inner):
        system.rm(inner, recursive=True)


def put_tree(source: str, url: str) -> None:
    """Copy a local folder's files, also those of folders within, to a URL."""
    system, inner = filesystem(url)
    for file in sorted(file for file in Path(source).rglob("*") if file.is_file()):
        target = f"{inner}/{file.relative_to(source)}"
        system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        system.put_file(str(file), target)


def fetch_tree(url: str, target: Path) -> None:
    """Copy all files of a folder at a URL, also those of folders within, to a local folder."""
    system, inner = filesystem(url)
    for found in system.find(inner):
        file = target / found.split(inner.strip("/"), 1)[1].lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(found, str(file))


def local_folder(path: str, key: str) -> str:
    """Return a local path of a folder; one on an object store is fetched once, under a key that names its content."""
    if not is_url(path):
        return path
    target = cache_folder() / "fetched" / key
    if target.is_dir():
        return str(target)
    system, inner = filesystem(path)
    with new_folder(target, shared=True) as work:
        for name in names(path):
            system.get_file(f"{inner}/{name}", str(work / name))
    return str(target)


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$RLAIF_CACHE`, or `rlaif` in the user's cache folder."""
    if folder := os.environ.get("RLAIF_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlaif"
