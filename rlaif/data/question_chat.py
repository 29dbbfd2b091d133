"""Reads questions that are chats: several turns, of which the last is the user's.

Invariant: what a chat holds is asked whole, or the row is refused with its line and the turn.
"""

from rlaif.data.messages import read_messages
from rlaif.data.question import Chat, Turn
from rlaif.errors import UserError, shown
from rlaif.io.row import Row
from rlaif.io.values import is_missing

_ROLES = ("system", "developer", "user", "assistant")


def read_question(row: Row) -> tuple[str, Chat]:
    """Return the text of a row's question, and its chat where the question is one; see `read_chat`."""
    chat = read_chat(row)
    return (chat[-1].content.strip(), chat) if chat else (row.text("question"), ())


def read_chat(row: Row) -> Chat:
    """Return the chat in a row's field `messages`; empty where there is none.

    Raises:
        UserError: with the file, the line and the turn's number, from 0: it is no chat that ends with the user's turn,
            or the row's question is another than that turn.
    """
    value = row.values.get("messages")
    # Parquet and our own records have an empty list where a question is no chat.
    if is_missing(value) or (value in ([], "[]") and row.values.get("question")):
        return ()
    try:
        chat = _turns(row, row.by_field.get("messages", "messages"), value)
    except UserError as error:
        raise UserError(*error.faults, f"{row.names.written({'messages': ''})} reads no chats") from None
    return chat


def _turns(row: Row, column: str, value: object) -> Chat:
    turns = []
    for number, message in enumerate(read_messages(row, column, value)):
        role = message["role"]
        if role not in _ROLES:
            raise row.error(f"{column}.{number}.role", expected="a turn of system, user or assistant", found=role)
        if others := sorted(set(message) - {"role", "content", "reasoning_content"}):
            raise row.error(f"{column}.{number}.{others[0]}", "a question's chat has texts alone")
        if not message["content"].strip():
            raise row.error(f"{column}.{number}", "an empty turn", expected="a text")
        turns.append(Turn(role, message["content"]))
    if not turns or turns[-1].role != "user":
        ends = f"it ends with a turn of the {turns[-1].role}" if turns else "it is empty"
        raise row.error(column, ends, expected="a chat that ends with the user's turn, which is answered")
    question = row.optional("question")
    if question and question.strip() != turns[-1].content.strip():
        problem = f"ends with another turn than the question: {shown(turns[-1].content)}"
        raise row.error(
            column, problem, expected="the question as the last turn, or no question", found=shown(question)
        )
    return tuple(turns)
