"""The sinks of a job write elsewhere, in their own way, and what they wrote is read back."""

import queue
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.cli.chaos.damage import flip_a_bit
from streame.cli.chaos.outputs import moved, outputs_of, read, replaced_names
from streame.core.changes import DIFF
from streame.io.commit_log import PRIVATE

ROWS = pl.DataFrame({"key": [1, 2, 1], "text": ['a "b"', None, "x,\ny"], "share": [0.5, None, 1.0]})


def rows() -> st.StreamDataFrame:
    return st.scan_frames([ROWS[:2], ROWS[2:]], name="rows")


@pytest.mark.parametrize("checkpoints", [False, True])
def test_sinks_write_elsewhere_and_are_read_back(tmp_path: Path, checkpoints: bool) -> None:
    source = rows()
    counts = source.group_by("key", name="counts").agg(n=pl.len())
    own = tmp_path / "own"
    job = st.job(
        [
            source.sink_parquet(own / "p", part_rows=2),
            source.sink_ipc(own / "i"),
            source.sink_csv(own / "c.csv", separator=";"),
            source.sink_csv(own / "parts/", quote_style="always", part_rows=1),
            source.sink_ndjson(own / "n.ndjson.gz"),
            source.sink_ndjson(own / "z", compression="zstd", part_rows=1),
            counts.sink_ndjson(own / "d.ndjson", changes=True, name="changes"),
            source.sink_queue(queue.Queue(), name="queue"),
        ],
        name="all",
    )
    outputs = outputs_of(job)
    there = tmp_path / "there"
    there.mkdir()
    moved(job, there, outputs).run(checkpoints=tmp_path / "checkpoints" if checkpoints else None)
    assert not own.exists()
    assert list(replaced_names(outputs)) == ["sink queue"]
    parquet, ipc, csv, csv_parts, lines, line_parts, changes, from_queue = (
        read(output, there) for output in outputs
    )
    assert parquet.equals(ROWS)
    assert ipc.equals(ROWS)
    texts = ROWS.with_columns(pl.col("key", "share").cast(pl.String))
    assert csv.equals(texts)
    assert csv_parts.fill_null("").equals(texts.fill_null(""))
    assert lines["line"][0] == '{"key":1,"text":"a \\"b\\"","share":0.5}'
    assert lines.equals(line_parts)
    assert lines.equals(from_queue)
    assert changes[DIFF].sum() == 2
    assert all(output.expectation.in_order for output in outputs if output.name != "sink changes")


def test_the_time_of_a_refusal_is_left_out(tmp_path: Path) -> None:
    given = st.scan_rows([{"n": 1}, {"n": "x"}], {"n": pl.Int64}, on_error="dead_letter", name="given")
    job = given.rejected.drop("raw").sink_ndjson(tmp_path / "out.ndjson", name="refused")
    (output,) = outputs_of(job, {"sink refused": ("kind",)})
    assert output.ignored == ("at",)
    there = tmp_path / "there"
    there.mkdir()
    moved(job, there, [output]).run()
    found = read(output, there)
    assert found.columns == ["line", "kind"]
    assert found["kind"].to_list() == ['"type"']
    assert '"at"' not in found["line"][0]


def test_what_is_not_there_has_no_rows(tmp_path: Path) -> None:
    outputs = outputs_of(rows().sink_parquet("p/"))
    assert all(read(output, tmp_path).height == 0 for output in outputs)


def test_one_bit_of_one_file_is_flipped(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    assert flip_a_bit(tmp_path, "c", random) == ""
    for path in ("c/empty", "out/part-0.csv", "log"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x" if "empty" not in path else b"")
    assert flip_a_bit(tmp_path, "c", random) == ""
    for path in ("c/m/1.json", "out/_streame/commits/1.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(bytes(100))
        said = flip_a_bit(tmp_path, "c", random)
        assert sum(byte.bit_count() for byte in (tmp_path / path).read_bytes()) == 1
        assert said.endswith(f"of 100 of {path} was flipped")
        (tmp_path / path).unlink()


def test_what_was_delivered_is_not_damaged_with_the_staged_file_that_it_was_linked_from(
    tmp_path: Path,
) -> None:
    staged = tmp_path / "out" / PRIVATE / "tmp" / "part"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"rows")
    delivered = tmp_path / "out" / "part"
    delivered.hardlink_to(staged)
    assert flip_a_bit(tmp_path, "c", np.random.default_rng(1))
    assert staged.read_bytes() != b"rows"
    assert delivered.read_bytes() == b"rows"
