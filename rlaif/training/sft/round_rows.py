"""A round's `demonstrations.parquet`: what is learned, as it was read and as token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.demonstrations import Demonstration
from rlaif.data.question import Question
from rlaif.data.ratings import Rating
from rlaif.models.chat_template import ChatTemplate
from rlaif.models.policy_source import policy_source
from rlaif.models.shape import context_within
from rlaif.recipe import LoraSection, PolicySection
from rlaif.training.sft.encode import encode_demonstrations
from rlaif.training.sft.train import sequence_row
from rlaif.training.standalone import sha256_of


@dataclass(frozen=True, slots=True)
class WrittenDemonstrations:
    """How many demonstrations were written, and the ids of those that are longer than the policy may be."""

    count: int
    too_long: list[str]


def write_demonstrations(
    demonstrations: Sequence[Demonstration],
    policy: PolicySection,
    lora: LoraSection | None,
    *,
    path: str,
    round_number: int,
    questions: Mapping[str, Question] | None = None,
) -> WrittenDemonstrations:
    """Encode demonstrations with a policy's tokenizer, and write them to a path or URL.

    Args:
        demonstrations: of which none is a question.
        questions: of the run that demonstrations answer, by the demonstration's id.

    Raises:
        UserError: the chat template does not take one of them; see `encode_demonstrations`.
    """
    import pyarrow as pa

    from rlaif.store.schemas import DEMONSTRATIONS
    from rlaif.store.shards import write_table

    source = policy_source(policy, lora)
    tokenizer = source.tokenizer()
    chat_template = ChatTemplate(tokenizer, policy.chat_template_kwargs)
    context = context_within(source.model, policy.max_length)
    encoded = encode_demonstrations(demonstrations, tokenizer, chat_template, context)
    texts = {each.id: shown_messages(each) for each in demonstrations}
    of_question = {
        name: {"prompt_id": question.id, "chunks": question.chunk_ids} for name, question in (questions or {}).items()
    }
    rows = [
        {**sequence_row(each), **texts[each.id], "round": round_number, **of_question.get(each.id, {})}
        for each in encoded.sequences
    ]
    write_table(path, pa.Table.from_pylist(rows, schema=DEMONSTRATIONS))
    return WrittenDemonstrations(len({each.id for each in encoded.sequences}), encoded.too_long)


def demonstrations_sha(demonstrations: Sequence[Demonstration]) -> str:
    """Return the sha256 of what demonstrations hold, in their order."""
    return sha256_of([each.id, *each.content] for each in demonstrations)


def shown_messages(row: Demonstration | Rating) -> dict[str, Any]:
    """Return the `prompt` and `answer` of a row that is no question as messages with texts, for people who trace it."""
    prompt: Any = row.prompt
    answer = row.answer
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    messages = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
    return {name: [_text(each) for each in chat] for name, chat in (("prompt", prompt), ("answer", messages))}


def _text(message: Any) -> dict[str, str]:
    return {"role": message["role"], "content": str(message.get("content") or "")}
