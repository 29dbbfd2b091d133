"""Containers of rows: the same rows from each, true lines, and one line for content that is not what its name says."""

import bz2
import csv
import gzip
import io
import json
import lzma
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.io.rows import CONTAINERS, read_file

ROWS = [
    {"id": "1", "question": 'Who is "first"?', "note": "a, b; c\td"},
    {"id": "2", "question": "Zwei\nZeilen, ü\u2028", "note": ""},
]
COLUMNS = ("id", "question", "note")


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def delimited(rows: list[dict[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


WRITTEN: dict[str, bytes] = {
    "rows.jsonl": jsonl(ROWS),
    "bom.jsonl": b"\xef\xbb\xbf" + jsonl(ROWS),
    "rows.ndjson": jsonl(ROWS),
    "ROWS.JSONL": jsonl(ROWS),
    "windows.jsonl": jsonl(ROWS).replace(b"\n", b"\r\n\r\n"),
    "utf16.jsonl": jsonl(ROWS).decode().encode("utf-16"),
    "array.json": json.dumps(ROWS, indent=2).encode(),
    "minified.json": json.dumps(ROWS, separators=(",", ":")).encode(),
    "wrapped.json": json.dumps({"version": [1, "2"], "data": ROWS}, indent=1).encode(),
    "lines.json": jsonl(ROWS),
    "comma.csv": delimited(ROWS),
    "semicolon.csv": delimited(ROWS, ";"),
    "tab.csv": delimited(ROWS, "\t"),
    "rows.tsv": delimited(ROWS, "\t"),
    "excel.csv": delimited(ROWS, ";", "utf-8-sig"),
    "declared.csv": b"sep=|\r\n" + delimited(ROWS, "|"),
    "unicode.txt": delimited(ROWS, "\t", "utf-16"),
    "big-endian.csv": b"\xfe\xff" + delimited(ROWS, ",", "utf-16-be"),
    "blank-lines.csv": b"\r\n\r\n" + delimited(ROWS) + b"\r\n,,\r\n",
    "index.csv": b"".join(b"%s,%s" % (name, line) for name, line in zip(
        [b"", b"0", b"1"], [b"id,question,note\n", b'1,"Who is ""first""?","a, b; c\td"\n',
                            '2,"Zwei\nZeilen, ü\u2028",\n'.encode()], strict=True)),
    "rows.parquet": parquet(ROWS),
}  # fmt: skip
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd,
}  # fmt: skip


# Each with a file that it refuses before it asks or loads a model.
COMMANDS = [
    ["label", "FILE", "--judge", "reference", "-o", "out.parquet"],
    ["train", "FILE", "--policy", "builtin:smollm2-135m", "-o", "out"],
    ["train-reward", "FILE", "-o", "out"],
    ["predict", "--policy", "builtin:smollm2-135m", "--questions", "FILE", "-o", "out"],
    ["judge", "report", "reference", "--labels", "FILE"],
    ["judge", "compare", "reference", "reference", "--labels", "FILE"],
    ["judge", "labels", "FILE", "-o", "out"],
]


def read(path: Path) -> list[dict[str, Any]]:
    return [{name: row.values[name] for name in COLUMNS} for row in read_file(str(path), COLUMNS)]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_container_gives_the_same_rows_also_compressed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITTEN[name])
    assert read(tmp_path / name) == ROWS
    for ending, compress in COMPRESSIONS.items():
        (tmp_path / f"{name}{ending}").write_bytes(compress(WRITTEN[name]))
        assert read(tmp_path / f"{name}{ending}") == ROWS


def test_every_ending_is_tested() -> None:
    assert {Path(name.lower()).suffix for name in WRITTEN} == set(CONTAINERS)


def test_one_column_is_never_split(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text('question\nred; green\n"yes, or no"\na\tb\n')
    assert [row.values["question"] for row in read_file(str(tmp_path / "one.csv"), ["question"])] == [
        "red; green", "yes, or no", "a\tb",
    ]  # fmt: skip


def test_known_names_decide_between_delimiters(tmp_path: Path) -> None:
    (tmp_path / "mixed.csv").write_text("id;question;one, two, three, four\n1;Who, me?;x\n")
    (row,) = read_file(str(tmp_path / "mixed.csv"), COLUMNS)
    assert row.values == {"id": "1", "question": "Who, me?"}


@pytest.mark.parametrize(
    ("name", "content", "locations"),
    [
        ("q.jsonl", '\n{"id": 1}\n\n{"id": 2}\n', [":2", ":4"]),
        ("q.json", '[\n {"id": 1},\n\n {"id":\n 2}]\n', [":2: row 1", ":4: row 2"]),
        ("q.json", '{"n": {"a": [1]},\n "rows": [{"id": 1},\n  {"id": 2}\n]}', [":2: row 1", ":3: row 2"]),
        ("q.json", '\n{"id": 1}\n{"id": 2}', [":2", ":3"]),
        ("q.json", '\n{"id": 1,\n "x": [{}]}', [":2"]),
        ("q.csv", 'sep=;\n\n"id"\n"a\nb"\n\n2\n', [":4", ":7"]),
        ("q.csv", "id\r1\r2\r", [":2", ":3"]),
        ("q.csv", 'id,"the\nnote"\n1,a\n2,b\n', [":3", ":4"]),
    ],
)
def test_locations_are_true(tmp_path: Path, name: str, content: str, locations: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert [row.location for row in read_file(str(path), ["id"])] == [f"{path}{location}" for location in locations]


def test_empty_arrays_hold_no_rows(tmp_path: Path) -> None:
    for content in ("", " \n", "[]", "[ \n]", '{"data": []}'):
        (tmp_path / "q.json").write_text(content)
        assert list(read_file(str(tmp_path / "q.json"), ["question"])) == []


def test_parquet_keeps_structs_and_maps(tmp_path: Path) -> None:
    struct = pa.array([{"a": [1, 2], "b": {"c": "x"}}])
    table = pa.table({"s": struct, "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))})
    pq.write_table(table, tmp_path / "q.parquet")
    (row,) = read_file(str(tmp_path / "q.parquet"), ["s", "m"])
    assert row.values == {"s": {"a": [1, 2], "b": {"c": "x"}}, "m": {"k": 1}}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("q.jsonl", b'[{"id": 1}]', ":1: begins a JSON array; expected one JSON object per line, or a name that ends"),
        ("q.jsonl", b"id,question\n", ":1: not JSON: Expecting value"),
        ("q.jsonl", b"PAR1....", ": holds Parquet; expected JSON, as its name says"),
        ("q.json", b"[1]", ":1: row 1: expected a JSON object (got a number)"),
        ("q.json", b'[{"id": 1},\n{"id": 2}', ":2: not JSON; expected a comma or the end of the array"),
        ("q.json", b'[{"id": 1},\n{"id": 2},]', ":2: not JSON: "),
        ("q.json", b'[{"id": 1}]\n[]', ":1: not JSON; expected nothing after the end of the array"),
        ("q.json", b'[\n{"id": 1,\n"x"}]', ":3: not JSON: Expecting ':' delimiter"),
        ("q.json", b'{"id": 1}\n{"id": \n', ":2: not JSON: "),
        ("q.json", b'{"id": 1}\n2\n', ":2: expected a JSON object (got a number)"),
        ("q.json", b"'id'", ":1: not JSON: "),
        ("q.json", b"[" * 100_000, ":1: not JSON: "),
        ("q.json", b"\x1f\x8b\x08", ": holds content compressed by gzip; expected JSON, as its name says"),
        ("q.csv", b'{"id": 1}\n', ":1: holds JSON; expected columns and their names, as its name says"),
        ("q.csv", b"PK\x03\x04", ": holds an Excel workbook or a zip archive; expected text in columns, as its name"),
        ("q.csv", b"\n<!DOCTYPE html>", ": holds a page of HTML or XML; expected text in columns"),
        ("q.csv", b"version https://git-lfs.github.com/spec/v1\n", ": holds a pointer of Git LFS instead of the file"),
        ("q.csv", "id\nb\u00fcro\n".encode("cp1252"), ":2: not UTF-8; expected text in UTF-8, or in UTF-16 with its"),
        ("q.csv", "id\n1\n".encode("utf-16-le"), ":1: not UTF-8; expected text in UTF-8, or in UTF-16 with its byte"),
        ("q.csv", b"\xff\xfei\x00d\x00\x00", ": not UTF-16: "),
        ("q.csv", b"id;id\n1;2\n", ":1: two columns named 'id'; expected each name once"),
        ("q.csv", b'id\n"1\n', ":2: not CSV: "),
        ("q.tsv", b"id\tquestion\n1\n", ":2: 1 fields; expected 2, as in the first line"),
        ("q.parquet", b"id\n1\n", ": holds something else; expected Parquet, as its name says"),
        ("q.parquet", b"PAR1....", ": not Parquet: "),
        ("q.csv.gz", b"id\n1\n", ": cannot be read: Not a gzipped file"),
        ("q.csv.gz", gzip.compress(b"id\n1\n", mtime=0)[:-9], ": cannot be read: "),
        ("q.csv.xz", b"id\n1\n", ": cannot be read: "),
        ("q.csv.bz2", b"id\n1\n", ": cannot be read: "),
        ("q.csv.zst", b"id\n1\n", ": cannot be read: "),
        ("q.xlsx", b"", ": unknown ending '.xlsx'; expected its sheet saved as CSV UTF-8, or as Unicode text"),
        (
            "q.yaml.gz",
            b"",
            ": unknown ending '.yaml.gz'; expected a file of .jsonl, .ndjson, .json, .csv, .tsv, .txt, ",
        ),
        ("q", b"", ": unknown ending ''; expected a file of .jsonl, "),
    ],
)
def test_other_content_is_named_in_one_line_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(read_file(str(path), ["id", "question"]))
    assert str(raised.value).startswith(f"{path}{says}")
    assert "\n" not in str(raised.value)
    for words in COMMANDS:
        result = CliRunner().invoke(app, [word.replace("FILE", str(path)) for word in words])
        (line,) = [line for line in result.stderr.splitlines() if line.strip()]
        assert (result.exit_code, line.startswith(f"rlaif: {path}")) == (2, True)
    # The last reads all rows before it looks for its columns.
    assert line == f"rlaif: {raised.value}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64()))}, "a value cannot be read: "),
        ({"id": pa.array([10**8], pa.date32())}, "a value cannot be read: date value out of range"),
        ({"id": pa.array([10**15], pa.timestamp("ms"))}, "a value cannot be read: date value out of range"),
    ],
)
def test_a_value_of_parquet_that_python_has_not_is_one_line(tmp_path: Path, columns: Any, says: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "q.parquet")
    with pytest.raises(UserError) as raised:
        list(read_file(str(tmp_path / "q.parquet"), ["id"]))
    assert f"q.parquet: {says}" in str(raised.value)


def test_two_columns_of_parquet_with_one_name_are_refused_if_they_are_read(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([value]) for value in "abc"], names=["note", "note", "id"])
    pq.write_table(table, tmp_path / "q.parquet")
    assert [row.values for row in read_file(str(tmp_path / "q.parquet"), ["id"])] == [{"id": "c"}]
    with pytest.raises(UserError, match=r"q.parquet: two columns named 'note'; expected each name once"):
        list(read_file(str(tmp_path / "q.parquet"), ["id", "note"]))


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "permission denied (HTTP 403)"), (404, "no such file"), (503, "cannot be read: HTTP 503")],
)
def test_an_answer_of_a_web_server_is_named_for_what_it_is(status: int, says: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/q.jsonl"
        with pytest.raises(UserError) as raised:
            list(read_file(url, ["id"]))
        server.shutdown()
    assert str(raised.value) == f"{url}: {says}"


@pytest.mark.parametrize(
    ("name", "content", "location"),
    [
        ("q.jsonl", '{"id": "1"}\n{"id": "2", "more": {"a": 1, "a": 1}}\n', "2: an object has the key 'a' twice"),
        ("q.json", '[\n {"id": "1"},\n {"id": "2",\n  "id": "3"}\n]', "4: an object has the key 'id' twice"),
        ("q.json", '{"rows": [\n {"id": "1", "x": [{"b": "b"}, {"b": 1,\n "b": 2}]}]}', "3: an object has the key 'b'"),
        ("q.json", '{"rows": [{"id": "1"}],\n "rows": []}', "2: an object has the key 'rows' twice"),
    ],
)
def test_a_key_that_an_object_has_twice_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str, location: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        list(read_file(str(tmp_path / name), ["id"]))
    assert str(raised.value).startswith(f"{tmp_path / name}:{location}")
    assert str(raised.value).endswith("; expected each key once")


def test_the_secrets_of_a_url_are_in_no_message() -> None:
    with pytest.raises(UserError) as raised:
        list(read_file("http://me:sesame@127.0.0.1:9/q.jsonl?key=sesame", ["id"]))
    assert str(raised.value).startswith("http://***@127.0.0.1:9/q.jsonl?***: ")
    assert "sesame" not in str(raised.value)


def test_lines_are_read_as_they_are_wanted(tmp_path: Path) -> None:
    """A file is never in memory as a whole: a fault far behind the last wanted row is never reached."""
    (tmp_path / "q.jsonl").write_bytes(jsonl(ROWS) + b" " * (1 << 22) + b"\n{")
    rows = read_file(str(tmp_path / "q.jsonl"), ["id"])
    assert [next(rows).values["id"], next(rows).values["id"]] == ["1", "2"]
