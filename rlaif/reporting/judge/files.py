"""Writes a judge report to a folder: `report.json`, `verdicts.parquet`, and last `report.html`."""

from dataclasses import asdict

from rlaif.errors import UserError
from rlaif.io.files import FULL, join, write_bytes, write_json
from rlaif.judge_evals.judge_report import JudgeReport, report_json


def write_report(report: JudgeReport, folder: str) -> str:
    """Write a report's files to a folder, a path or URL that is made if it does not exist; return the page's path.

    Raises:
        UserError: the folder cannot be written to.
    """
    import pyarrow as pa

    from rlaif.reporting.judge.html import render_page
    from rlaif.store.schemas import VERDICTS
    from rlaif.store.shards import write_table

    page = join(folder, "report.html")
    rows = [asdict(verdict) for item in report.judged for verdict in item.verdicts]
    verdicts = pa.Table.from_pylist(rows, schema=VERDICTS)
    try:
        write_json(join(folder, "report.json"), report_json(report))
        write_table(join(folder, "verdicts.parquet"), verdicts)
        write_bytes(page, render_page(report).encode("utf-8", errors="replace"))
    except OSError as error:
        if error.errno in FULL:
            raise
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written to: {reason}; choose another folder with --out") from None
    return page
