"""Files of demonstrations for `rlaif train --objective sft`; see `rlaif.training.from_file`."""

from collections.abc import Sequence
from typing import Any

from rlaif.data.demonstrations import Demonstration, read_demonstrations
from rlaif.data.left_out import LeftOut
from rlaif.io.column_names import ColumnNames
from rlaif.models.chat_template import ChatTemplate
from rlaif.prompts.template import load_template
from rlaif.recipe import SftSection
from rlaif.store.records.file_training_record import SftFileRecord, TemplateRecord
from rlaif.training.from_file import EncodedRows, PolicyFile
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.policy_file import PolicyFileSettings, StartingModel
from rlaif.training.sft.encode import asked, encode_demonstrations
from rlaif.training.sft.train import SftResult, sequence_row, train_sft


class SftSettings(PolicyFileSettings):
    """The settings of `rlaif train --objective sft --set`; each section is a recipe's."""

    training: SftSection = SftSection()


class SftFile(PolicyFile[SftSettings, Demonstration]):
    """Demonstrations; see `PolicyFile`."""

    settings = SftSettings
    row = "demonstration"

    def prepare(self, settings: SftSettings) -> Sequence[str]:
        """See `PolicyFile`: the template asks the questions."""
        return (load_template(settings.policy.prompt).sha,)

    def read(self, file: str, columns: ColumnNames, settings: SftSettings) -> tuple[list[Demonstration], LeftOut]:
        """See `PolicyFile`."""
        read = read_demonstrations(file, columns)
        return read.rows, read.left_out

    def identity(self, row: Demonstration) -> list[Any]:
        """See `PolicyFile`."""
        return [row.id, *row.content]

    def encode(self, rows: Sequence[Demonstration], start: StartingModel, settings: SftSettings) -> EncodedRows:
        """See `PolicyFile`."""
        import pyarrow as pa

        chat_template = ChatTemplate(start.tokenizer, settings.policy.chat_template_kwargs)
        template = load_template(settings.policy.prompt)
        encoded = encode_demonstrations(asked(rows, template), start.tokenizer, chat_template, start.context)
        every = [sequence_row(sequence) for sequence in encoded.sequences]
        return EncodedRows(pa.Table.from_pylist(every) if every else None, encoded.too_long)

    def train(self, job: TrainingJob[Any], worker: Worker) -> SftResult:
        """See `PolicyFile`."""
        return train_sft(job, worker)

    def record(self, settings: SftSettings, **fields: Any) -> SftFileRecord:
        """See `PolicyFile`."""
        template = load_template(settings.policy.prompt)
        return SftFileRecord(prompt=TemplateRecord(name=template.name, sha256=template.sha), **fields)
