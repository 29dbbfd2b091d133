"""Measures one trainer of demonstrations, ours or TRL's `SFTTrainer`; see `trainers.py`."""

import random
import tempfile
from typing import Any

from trainers import _FIRST_TOKEN, _LAST_TOKEN, Case, Figures, arguments, load, peak_gib, time_steps

_QUESTION = 20  # Tokens of a question after its document, as in TAT-QA.


def random_sequences(case: Case) -> list[Any]:
    """Return made-up documents, each with several questions and their answers."""
    from rlaif.training.sft.encode import LearnedSequence

    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(count))

    found = []
    for number in range(case.groups):
        document = tokens(case.prompt)
        for question in range(case.candidates):
            prompt = document + tokens(_QUESTION)
            span = (len(prompt), len(prompt) + case.answer)
            found.append(LearnedSequence(f"{number}-{question}", prompt + tokens(case.answer), (span,)))
    return found


def measure_ours(case: Case) -> Figures:
    """Train with `GroupSFTTrainer`; each step goes over all demonstrations."""
    from transformers import TrainingArguments

    from rlaif.training.common_beginnings import group_by_beginning
    from rlaif.training.groups import plan_packs, plan_steps
    from rlaif.training.sft.trainer import GroupSFTTrainer

    model, tokenizer = load(case)
    sequences = random_sequences(case)
    groups = group_by_beginning(sequences, most=case.candidates, max_tokens=case.pack)
    steps = plan_steps([1] * len(groups), epochs=1 + case.steps, per_step=len(groups), seed=0)
    learned = float(sum(group.counted_tokens for group in groups))
    plan = plan_packs(groups, steps, [learned] * len(steps), max_tokens=case.pack, workers=1)
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(folder, case, 1, plan.accumulation, TrainingArguments, remove_unused_columns=False)
        # The plan contains all steps.
        args.num_train_epochs = 1
        trainer = GroupSFTTrainer(model, args=args, processing_class=tokenizer, groups=groups, plan=plan)
        seconds, loss = time_steps(trainer, case.steps)
    tokens = sum(group.tokens for group in groups)
    return Figures(seconds, 0.0, len(sequences), tokens, 0, peak_gib(case.gpu), loss)


def measure_trl(case: Case) -> Figures:
    """Train with TRL's own trainer, on encoded rows."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, tokenizer = load(case)
    sequences = random_sequences(case)
    rows = [
        {
            "input_ids": list(each.token_ids),
            "completion_mask": [int(index >= each.learned[0][0]) for index in range(len(each.token_ids))],
        }
        for each in sequences
    ]
    with tempfile.TemporaryDirectory() as folder:
        accumulation = -(-len(rows) // case.batch)
        args = arguments(folder, case, case.batch, accumulation, SFTConfig, max_length=None, completion_only_loss=True)
        data = Dataset.from_list(rows)
        trainer = SFTTrainer(model, args=args, train_dataset=data, processing_class=tokenizer)
        seconds, loss = time_steps(trainer, case.steps)
    tokens = sum(len(row["input_ids"]) for row in rows)
    return Figures(seconds, 0.0, len(rows), tokens, 0, peak_gib(case.gpu), loss)
