"""Files of preferences for `rlaif train`; see `rlaif.training.from_file`."""

from collections.abc import Sequence
from typing import Any

from rlaif.data.left_out import LeftOut
from rlaif.data.preferences import Preference, read_preferences
from rlaif.io.column_names import ColumnNames
from rlaif.recipe import TrainingSection
from rlaif.store.records.file_training_record import DpoFileRecord
from rlaif.training.dpo.encode import encode_preferences
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.from_file import EncodedRows, PolicyFile
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.policy_file import PolicyFileSettings, StartingModel


class DpoSettings(PolicyFileSettings):
    """The settings of `rlaif train --set`; each section is a recipe's."""

    training: TrainingSection = TrainingSection()


class DpoFile(PolicyFile[DpoSettings, Preference]):
    """Preferences; see `PolicyFile`."""

    settings = DpoSettings
    row = "pair"

    def read(self, file: str, columns: ColumnNames, settings: DpoSettings) -> tuple[list[Preference], LeftOut]:
        """See `PolicyFile`."""
        read = read_preferences(file, columns)
        return read.rows, read.left_out

    def identity(self, row: Preference) -> list[Any]:
        """See `PolicyFile`."""
        return [row.id, *row.content]

    def encode(self, rows: Sequence[Preference], start: StartingModel, settings: DpoSettings) -> EncodedRows:
        """See `PolicyFile`."""
        import pyarrow as pa

        from rlaif.store.schemas import PAIRS

        encoded = encode_preferences(
            rows, start.tokenizer, start.context, start.id, chat_template_kwargs=settings.policy.chat_template_kwargs
        )
        every = [{**dict.fromkeys(PAIRS.names), **row} for row in encoded.rows]
        return EncodedRows(pa.Table.from_pylist(every, schema=PAIRS) if every else None, encoded.too_long)

    def train(self, job: TrainingJob[Any], worker: Worker) -> DpoResult:
        """See `PolicyFile`."""
        return train_dpo(job, worker)

    def record(self, settings: DpoSettings, **fields: Any) -> DpoFileRecord:
        """See `PolicyFile`."""
        return DpoFileRecord(**fields)
