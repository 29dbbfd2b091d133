"""A question with its id, its context and, if known, its gold answer; it may be a chat of several turns."""

from dataclasses import asdict, dataclass
from typing import Any

from rlaif.chat import Messages
from rlaif.data.criteria import Criterion
from rlaif.data.gold_answer import GoldAnswer
from rlaif.documents.document import Chunk


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a question that is a chat; the role is `system`, `developer`, `user` or `assistant`."""

    role: str
    content: str


Chat = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as used in every part of a run.

    Attributes:
        id: unique within a set of questions.
        question: its text; of a chat, the text of the last turn.
        context: text that the answer must follow from, or "".
        gold_answer: None if unknown; several texts if each of them is right.
        doc_link: None if unknown.
        evidence: passage of the context or the document that supports the gold answer, if known.
        criteria: what judges with criteria mark its answers by; none takes those of the judge file.
        chat: all turns, of which the last is the user's; empty where the question is a text.
        document: name or path of the document that the question is about; None if unknown.
        chunks: what the context was retrieved as; None where it was not retrieved.
        withheld: whether the context was retrieved without the evidence, so that a refusal is the right answer.
        unasked: why there is no context to ask the question with, such as a document that could not be read; "" if it
            can be asked.
    """

    id: str
    question: str
    context: str = ""
    gold_answer: GoldAnswer | None = None
    doc_link: str | None = None
    evidence: str | None = None
    criteria: tuple[Criterion, ...] = ()
    chat: Chat = ()
    document: str | None = None
    chunks: tuple[Chunk, ...] | None = None
    withheld: bool = False
    unasked: str = ""

    @property
    def chunk_ids(self) -> list[str] | None:
        """The ids of the chunks, as tables of a run hold them; None where the context was not retrieved."""
        return None if self.chunks is None else [chunk.id for chunk in self.chunks]

    @property
    def messages(self) -> Messages:
        """The turns of a chat as messages; empty where the question is a text."""
        return [{"role": turn.role, "content": turn.content} for turn in self.chat]


def chat_tree(chat: Chat) -> list[dict[str, Any]]:
    """Return the turns of a chat as JSON values."""
    return [asdict(turn) for turn in chat]
