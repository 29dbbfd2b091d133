"""Files of ratings for `rlaif train --objective kto`; see `rlaif.training.from_file`."""

from collections.abc import Sequence
from typing import Any

from rlaif.data.left_out import LeftOut
from rlaif.data.ratings import Rating, read_ratings
from rlaif.errors import Fault, UserError
from rlaif.io.column_names import ColumnNames
from rlaif.models.chat_template import ChatTemplate
from rlaif.prompts.template import load_template
from rlaif.recipe import KtoSection, RatingsSection
from rlaif.store.records.file_training_record import KtoFileRecord, TemplateRecord
from rlaif.training.from_file import EncodedRows, PolicyFile
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.kto.encode import encode_ratings
from rlaif.training.kto.groups import ONE_PROMPT
from rlaif.training.kto.train import KtoResult, train_kto
from rlaif.training.policy_file import PolicyFileSettings, StartingModel
from rlaif.training.sft.encode import asked


class KtoSettings(PolicyFileSettings):
    """The settings of `rlaif train --objective kto --set`; each section is a recipe's."""

    ratings: RatingsSection = RatingsSection()
    training: KtoSection = KtoSection()


class KtoFile(PolicyFile[KtoSettings, Rating]):
    """Ratings; see `PolicyFile`."""

    settings = KtoSettings
    row = "rating"

    def prepare(self, settings: KtoSettings) -> Sequence[str]:
        """See `PolicyFile`: the template asks the questions."""
        return (load_template(settings.policy.prompt).sha,)

    def read(self, file: str, columns: ColumnNames, settings: KtoSettings) -> tuple[list[Rating], LeftOut]:
        """See `PolicyFile`."""
        read = read_ratings(file, columns, settings.ratings)
        first = read.rows[0].asked[0]
        if all(rating.asked[0] == first for rating in read.rows):
            raise UserError(Fault(file, ONE_PROMPT))
        return read.rows, read.left_out

    def identity(self, row: Rating) -> list[Any]:
        """See `PolicyFile`."""
        return row.content

    def encode(self, rows: Sequence[Rating], start: StartingModel, settings: KtoSettings) -> EncodedRows:
        """See `PolicyFile`."""
        import pyarrow as pa

        from rlaif.store.schemas import RATINGS

        chat_template = ChatTemplate(start.tokenizer, settings.policy.chat_template_kwargs)
        template = load_template(settings.policy.prompt)
        encoded = encode_ratings(asked(rows, template), start.tokenizer, chat_template, start.context)
        every = [{**dict.fromkeys(RATINGS.names), **row} for row in encoded.rows]
        return EncodedRows(pa.Table.from_pylist(every, schema=RATINGS) if every else None, encoded.too_long)

    def train(self, job: TrainingJob[Any], worker: Worker) -> KtoResult:
        """See `PolicyFile`."""
        return train_kto(job, worker)

    def record(self, settings: KtoSettings, **fields: Any) -> KtoFileRecord:
        """See `PolicyFile`."""
        template = load_template(settings.policy.prompt)
        prompt = TemplateRecord(name=template.name, sha256=template.sha)
        return KtoFileRecord(prompt=prompt, bounds=settings.ratings, **fields)
