"""Replies of judges' models, kept on this machine so that no request is paid twice.

The key of a reply is what decides it: who answers, and the request with its rendered messages (and so the order of the
answers), its sampling and its seed. Since replies are kept rather than verdicts, all members of a panel share them, and
a judge whose pattern was corrected reads them again.

Invariant: failures are never kept, and a reply from the cache is word for word the model's.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from rlaif.errors import UserError, WorkError
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest, ModelBackend
from rlaif.io.files import cache_folder

Request = TypeVar("Request", ChatRequest, ChoiceRequest)
Reply = TypeVar("Reply", ChatReply, ChoiceReply)
Ask = Callable[[Sequence[Request]], Awaitable[list[Reply]]]

# Keys are made of these names for a `ChoiceRequest`, so that caches from before its fields were renamed stay valid.
_KEYED_AS = {"ChoiceRequest": "LabelRequest", "choices": "labels"}


class ResponseCache:
    """A SQLite file of replies, safe for several processes at once; it may be deleted at any time.

    Args:
        path: of the file; None is `verdicts.sqlite` in the cache folder (`$RLAIF_CACHE`, or the user's).
        free: whether a reply from the cache counts as free, as in the record of a run; else it has the tokens and
            seconds of the original request, as in a report of a judge's cost.
    """

    def __init__(self, path: Path | None = None, *, free: bool = True) -> None:
        self.path, self.free = path or cache_folder() / "verdicts.sqlite", free
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60.0)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A reply lost to a power cut is asked for again; that is cheaper than syncing the disk for each.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self.path}: the verdict cache cannot be opened: {error}; delete it, or name another folder by "
                "RLAIF_CACHE"
            ) from None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the reply kept under a key, or None."""
        try:
            row = self._connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise WorkError(f"{self.path}: the verdict cache cannot be read: {error}") from None
        return json.loads(row[0]) if row else None

    def put(self, key: str, reply: dict[str, Any]) -> None:
        """Keep a reply; one that is kept already stays."""
        try:
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, json.dumps(reply)))
        except sqlite3.Error as error:
            raise WorkError(f"{self.path}: the verdict cache cannot be written: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class CachedBackend:
    """A backend that sends its inner one only the requests that the cache cannot answer; see `ModelBackend`.

    Args:
        together: whether the requests of one call are sent together, as for an engine's prefix cache. Else each is sent
            and kept by itself: a paid reply is kept even if the next request stops the work, and a request on its way
            is not sent twice.
    """

    def __init__(self, inner: ModelBackend, cache: ResponseCache, *, together: bool) -> None:
        self._inner, self._cache, self._together = inner, cache, together
        self._on_the_way: dict[str, asyncio.Task[Any]] = {}

    @property
    def identity(self) -> str:
        """Names the weights that answer."""
        return self._inner.identity

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Return the log-probabilities of each request's choices, in order."""
        return await self._answer(requests, self._inner.choices, ChoiceReply)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer each request with a text, in order."""
        return await self._answer(requests, self._inner.chats, ChatReply)

    async def close(self) -> None:
        """Cancel the requests that are on their way though nobody waits for them any more.

        Call it before the inner backend is closed, which a request that waits for its turn or its next try still needs.
        """
        tasks = list(self._on_the_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, requests: Sequence[Request], ask: Ask[Request, Reply], kind: type[Reply]) -> list[Reply]:
        keys = [reply_key(self.identity, request) for request in requests]
        kept = [self._cache.get(key) for key in keys]
        replies = [None if value is None else self._costing(kind(**value)) for value in kept]
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

    async def _ask_each(self, asked: Sequence[tuple[str, Request]], ask: Ask[Request, Reply]) -> list[Reply]:
        tasks: list[asyncio.Task[Reply]] = []
        repeated: list[bool] = []
        for key, request in asked:
            task = self._on_the_way.get(key)
            repeated.append(task is not None)
            if task is None:
                task = self._on_the_way[key] = asyncio.create_task(self._ask_one(key, request, ask))
                task.add_done_callback(_retrieve_error)
            tasks.append(task)
        # Shielded: a caller that is cancelled takes the reply neither from other callers nor from the cache.
        done = await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)
        replies: list[Reply] = []
        for reply, again in zip(done, repeated, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            replies.append(self._costing(reply) if again else reply)
        return replies

    async def _ask_one(self, key: str, request: Request, ask: Ask[Request, Reply]) -> Reply:
        try:
            (reply,) = await ask([request])
            self._keep(key, reply)
            return reply
        finally:
            del self._on_the_way[key]

    def _keep(self, key: str, reply: Reply) -> None:
        if reply.failure is None:
            self._cache.put(key, asdict(reply))

    def _costing(self, reply: Reply) -> Reply:
        """Return a reply that is already paid for, at the cost that it has here."""
        return replace(reply, prompt_tokens=0, completion_tokens=0, seconds=0.0) if self._cache.free else reply


def _retrieve_error(task: asyncio.Task[Any]) -> None:
    """Retrieve a task's error, which callers get anyway, so that asyncio does not print it where nobody waits."""
    if not task.cancelled():
        task.exception()


def reply_key(identity: str, request: ChatRequest | ChoiceRequest) -> str:
    """Return the key of a reply: the sha256 of the backend's identity and of all of the request."""
    asked = type(request).__name__
    fields = {_KEYED_AS.get(name, name): value for name, value in asdict(request).items()}
    if fields["chat_template_kwargs"] is None:
        # Caches from before there was such a field stay valid.
        del fields["chat_template_kwargs"]
    tree = {"answers": identity, "asked": _KEYED_AS.get(asked, asked), **fields}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
