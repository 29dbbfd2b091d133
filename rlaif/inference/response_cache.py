"""What judges' models have answered, kept on this machine: the same question is never paid twice.

Replies are kept rather than verdicts, under what decides them: who answers, and the request with its rendered messages
(which hold the order of the answers), its sampling and its seed (which holds the sample's number). So every member of a
panel profits, and a judge whose label expression was mended reads what it has paid for again.

Invariant: only answers are kept, never failures; and a reply from the cache is word for word what came from the model.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from rlaif.errors import UserError, WorkError
from rlaif.inference.model_backend import ModelBackend
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest

Request = TypeVar("Request", ChatRequest, ChoiceRequest)
Reply = TypeVar("Reply", ChatReply, ChoiceReply)

_BUSY_SECONDS = 60.0
# Keys are made of these names for a `ChoiceRequest`, so that caches from before its fields were renamed stay valid.
_KEYED_AS = {"ChoiceRequest": "LabelRequest", "choices": "labels"}


class ResponseCache:
    """A file of replies, safe for several processes at once; it may be deleted at any time.

    Args:
        path: of the file; None is `verdicts.sqlite` in the cache folder (`$RLAIF_CACHE`, or the user's).
        free: whether a reply from the cache costs nothing, as in the record of a run; else it bears the tokens and
            seconds that it cost when it was asked, as in a report of what a judge costs.

    Raises:
        UserError: the file cannot be opened.
    """

    def __init__(self, path: Path | None = None, *, free: bool = True) -> None:
        self.path, self.free = path or default_path(), free
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
            self._connection = self._connect()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self.path}: the verdict cache cannot be opened: {error}; delete it, or name another folder by "
                "RLAIF_CACHE"
            ) from None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the reply kept under a key, or None.

        Raises:
            WorkError: the file cannot be read.
        """
        try:
            row = self._connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise WorkError(f"{self.path}: the verdict cache cannot be read: {error}") from None
        return json.loads(row[0]) if row else None

    def put(self, key: str, reply: dict[str, Any]) -> None:
        """Keep a reply; one that is kept already stays.

        Raises:
            WorkError: the file cannot be written.
        """
        try:
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, json.dumps(reply)))
        except sqlite3.Error as error:
            raise WorkError(f"{self.path}: the verdict cache cannot be written: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        # A reply lost to a power cut is asked again; it is not worth a sync of the disk for each.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def default_path() -> Path:
    """Return where the cache is kept."""
    from rlaif.io.paths import cache_folder

    return cache_folder() / "verdicts.sqlite"


class CachedBackend:
    """A backend that asks another only what the cache does not hold.

    Args:
        inner: the other.
        cache: the cache.
        together: whether questions that are asked together belong together, as for an engine's prefix cache. Else each
            is asked and kept by itself: what is paid for is kept even if the next one stops the work, and a question
            that is on its way is not sent a second time.
    """

    def __init__(self, inner: ModelBackend, cache: ResponseCache, *, together: bool) -> None:
        self._inner, self._cache, self._together = inner, cache, together
        self._on_the_way: dict[str, asyncio.Task[Any]] = {}

    @property
    def identity(self) -> str:
        """What names the weights that answer."""
        return self._inner.identity

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """See `ModelBackend`."""
        return await self._answer(requests, self._inner.choices, ChoiceReply)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """See `ModelBackend`."""
        return await self._answer(requests, self._inner.chats, ChatReply)

    async def close(self) -> None:
        """Give up the questions that are on their way though nobody waits for them any more.

        To be called before the backend behind this one is closed: a question that is repeated or still waits for its
        turn would find it closed.
        """
        tasks = list(self._on_the_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self,
        requests: Sequence[Request],
        ask: Callable[[Sequence[Request]], Awaitable[list[Reply]]],
        kind: type[Reply],
    ) -> list[Reply]:
        keys = [reply_key(self.identity, request) for request in requests]
        replies = [self._kept(key, kind) for key in keys]
        missing = [index for index, reply in enumerate(replies) if reply is None]
        if self._together:
            asked = await ask([requests[index] for index in missing]) if missing else []
            for index, reply in zip(missing, asked, strict=True):
                self._keep(keys[index], reply)
        else:
            asked = await self._ask_each([(keys[index], requests[index]) for index in missing], ask)
        for index, reply in zip(missing, asked, strict=True):
            replies[index] = reply
        return [reply for reply in replies if reply is not None]

    async def _ask_each(
        self, asked: Sequence[tuple[str, Request]], ask: Callable[[Sequence[Request]], Awaitable[list[Reply]]]
    ) -> list[Reply]:
        tasks: list[asyncio.Task[Reply]] = []
        repeated: list[bool] = []
        for key, request in asked:
            task = self._on_the_way.get(key)
            repeated.append(task is not None)
            if task is None:
                task = self._on_the_way[key] = asyncio.create_task(self._ask_one(key, request, ask))
                task.add_done_callback(_heard)
            tasks.append(task)
        # Shielded: whoever stops waiting does not take the answer from those who wait for the same, nor from the cache.
        done = await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)
        replies: list[Reply] = []
        for reply, again in zip(done, repeated, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            replies.append(self._costing(reply) if again else reply)
        return replies

    async def _ask_one(
        self, key: str, request: Request, ask: Callable[[Sequence[Request]], Awaitable[list[Reply]]]
    ) -> Reply:
        try:
            (reply,) = await ask([request])
            self._keep(key, reply)
            return reply
        finally:
            del self._on_the_way[key]

    def _keep(self, key: str, reply: Reply) -> None:
        if reply.failure is None:
            self._cache.put(key, asdict(reply))

    def _kept(self, key: str, kind: type[Reply]) -> Reply | None:
        value = self._cache.get(key)
        return None if value is None else self._costing(kind(**value))

    def _costing(self, reply: Reply) -> Reply:
        """Return a reply that somebody has paid for already with what it counts for here."""
        return replace(reply, prompt_tokens=0, completion_tokens=0, seconds=0.0) if self._cache.free else reply


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of a task's error: those who wait are told it, and asyncio need not print it where nobody does."""
    if not task.cancelled():
        task.exception()


def reply_key(identity: str, request: ChatRequest | ChoiceRequest) -> str:
    """Return what a reply is kept under: the sha256 of who answers and of the request.

    Args:
        identity: of the backend.
        request: all of it decides the reply.
    """
    asked = type(request).__name__
    fields = {_KEYED_AS.get(name, name): value for name, value in asdict(request).items()}
    tree = {"answers": identity, "asked": _KEYED_AS.get(asked, asked), **fields}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
