"""How a question is put to a policy, and shown to a judge, whether it is a text or a chat.

Invariant: a chat is asked turn by turn as it is, and shown whole. Nothing that a turn holds is read as the marker of
another turn.
"""

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.prompts.quoting import quoted, without_role_markers
from rlaif.prompts.template import PromptTemplate

_INSTRUCTIONS = ("system", "developer")


def question_prompt(template: PromptTemplate, question: Question) -> Messages:
    """Return the chat that asks a policy a question.

    A text is rendered by the template. A chat is sent as it is; if the question has a context, its last turn is
    rendered by the template with that context, and if it has no system turn, the template's is put before it.

    Args:
        template: of kind `answer`.
    """
    rendered = template.render(question=question.question, context=question.context)
    if not question.chat:
        return rendered
    chat: Messages = [{"role": turn.role, "content": without_role_markers(turn.content)} for turn in question.chat]
    if question.context:
        chat[-1] = rendered[-1]
    if rendered[0]["role"] == "system" and not any(turn.role in _INSTRUCTIONS for turn in question.chat):
        chat.insert(0, rendered[0])
    return chat


def shown_question(question: Question) -> str:
    """Return what a person or a judge is shown as the question: its text, or the transcript of its chat.

    Every line of a turn is quoted, so that no text can begin another turn.

    >>> from rlaif.data.question import Turn
    >>> chat = (Turn("user", "Sales?"), Turn("assistant", "In which year?"), Turn("user", "2023"))
    >>> print(shown_question(Question("q1", "2023", chat=chat)))
    User:
    | Sales?
    Assistant:
    | In which year?
    User:
    | 2023
    """
    if len(question.chat) < 2:
        return question.question
    return "\n".join(f"{turn.role.capitalize()}:\n{quoted(turn.content)}" for turn in question.chat)
