"""Jobs with checkpoints: what is there after a stop, a savepoint, another parallelism, a changed plan; and what is refused."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.errors import CheckpointError, PlanChanged
from streame.state.checkpoint.inspection import list_checkpoints, verify_checkpoints
from streame.state.checkpoint.savepoints import make_savepoint
from tests.jobs.fakes import HANG_S

SCHEMA = pl.Schema({"at": pl.Datetime("us"), "user": pl.Int64(), "n": pl.Int64()})


class Feed(st.Source):
    """Rows up to a number, then nothing more until the job is stopped; or the end."""

    one_split = True

    def __init__(self, upto: int, *, ends: bool) -> None:
        self.bounded = ends
        self._upto = upto

    def schema(self) -> pl.Schema:
        return SCHEMA

    def splits(self) -> list[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        at = int(str(offset or 0))
        while at < self._upto:
            stop = min(at + 7, self._upto)
            yield st.Chunk(rows(at, stop), stop)
            at = stop
        while not self.bounded:
            yield None


def rows(start: int, stop: int) -> pl.DataFrame:
    """Rows of five users, a second apart."""
    n = pl.int_range(start, stop, eager=True)
    at = (n * 1_000_000).cast(pl.Datetime("us"))
    return pl.DataFrame({"at": at, "user": n % 5, "n": n}, schema=SCHEMA)


def windows(upto: int, *, ends: bool) -> st.StreamDataFrame:
    """What each user has in ten seconds."""
    stream = st.scan(Feed(upto, ends=ends), name="feed", event_time="at")
    return stream.group_by_dynamic("at", every="10s", group_by="user").agg(n=pl.len(), sum=pl.col("n").sum())


def expected(upto: int) -> pl.DataFrame:
    """The same by Polars."""
    frame = rows(0, upto).lazy().group_by_dynamic("at", every="10s", group_by="user")
    return (
        frame.agg(n=pl.len(), sum=pl.col("n").sum())
        .select("at", "user", "n", "sum")
        .sort("at", "user")
        .collect()
    )


def output(folder: Path) -> pl.DataFrame:
    """What can be read of the output."""
    schema = {"at": pl.Datetime("us"), "user": pl.Int64(), "n": pl.UInt32(), "sum": pl.Int64()}
    return (
        st.scan_parquet(folder, schema=schema).collect().select("at", "user", "n", "sum").sort("at", "user")
    )


def run_until(job: st.Job, reached: Callable[[st.JobHandle], bool], **settings: object) -> None:
    """Run a job that does not end by itself until something is reached, and stop it."""
    with job.start(**settings) as handle:  # type: ignore[arg-type]
        while not reached(handle):
            assert not handle.wait(timeout=0.01)
            assert handle.status().seconds < HANG_S, "it is never reached"


def has_read(rows: int) -> Callable[[st.JobHandle], bool]:
    return lambda handle: handle.status().rows_in >= rows


@pytest.mark.parametrize("parallelisms", [(1, 1, 1), (1, 4, 3), (3, 1, 2)])
def test_a_stop_leaves_windows_open_and_the_next_run_goes_on(
    tmp_path: Path, parallelisms: tuple[int, int, int]
) -> None:
    out, place = tmp_path / "out", tmp_path / "checkpoints"
    first, second, third = parallelisms
    job = windows(103, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(103), checkpoints=place, parallelism=first)
    assert output(out)["n"].sum() <= 103
    job = windows(207, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(207 - 103), checkpoints=place, parallelism=second)
    status = windows(300, ends=True).sink_parquet(out, name="out").run(checkpoints=place, parallelism=third)
    assert (status.state, status.rows_in) == ("finished", 300 - 207)
    assert output(out).equals(expected(300))


def test_a_finished_job_has_nothing_left_to_do(tmp_path: Path) -> None:
    for rows_in in (50, 0):
        job = windows(50, ends=True).sink_parquet(tmp_path / "out", name="out")
        assert job.run(checkpoints=tmp_path / "checkpoints").rows_in == rows_in
    assert output(tmp_path / "out").equals(expected(50))


def test_output_is_seen_after_a_checkpoint_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = windows(103, ends=False).sink_parquet(out, name="out")
    with job.start(checkpoints=tmp_path / "checkpoints", checkpoint_interval="1h") as handle:
        while handle.status().rows_in < 103:
            assert not handle.wait(timeout=0.01)
        assert not list(out.glob("part-*"))
    assert output(out).equals(expected(103).filter(pl.col("at").to_physical() < 100_000_000))


def test_a_savepoint_is_portable_across_parallelism(tmp_path: Path) -> None:
    out, begin = tmp_path / "out", None
    for parallelism, upto in ((1, 103), (4, 207), (3, 300)):
        place = tmp_path / f"checkpoints of {parallelism}"
        job = windows(upto, ends=upto == 300).sink_parquet(out, name="out")
        read = upto - (0 if begin is None else {207: 103, 300: 207}[upto])
        if upto == 300:
            job.run(checkpoints=place, parallelism=parallelism, savepoint=begin)
        else:
            run_until(job, has_read(read), checkpoints=place, parallelism=parallelism, savepoint=begin)
        begin = tmp_path / f"savepoint of {parallelism}"
        make_savepoint(place, begin)
        assert not any(verdict.problems for verdict in verify_checkpoints(begin))
        shutil.rmtree(place)
    assert output(out).equals(expected(300))


def test_a_savepoint_needs_checkpoints(tmp_path: Path) -> None:
    job = windows(5, ends=True).sink_parquet(tmp_path / "out")
    with pytest.raises(st.PlanError, match="give checkpoints= as well"):
        job.run(savepoint=tmp_path / "savepoint")


def summed(out: Path, upto: int) -> st.Job:
    return st.job([windows(upto, ends=False).sink_parquet(out)], name="summed")


def test_a_refused_start_does_not_take_the_savepoint(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    for upto in (50, 103):
        run_until(summed(tmp_path / "out", upto), has_read(53 if upto == 103 else 50), checkpoints=place)
        make_savepoint(place, tmp_path / f"saved at {upto}")
    new, sink = tmp_path / "new", "sink out"
    with pytest.raises(PlanChanged, match="would be lost"):
        summed(tmp_path / "other", 150).run(checkpoints=new, savepoint=tmp_path / "saved at 50")
    run_until(
        summed(tmp_path / "other", 150), has_read(150 - 103),
        checkpoints=new, savepoint=tmp_path / "saved at 103", allow_dropped_state=[sink],
    )  # fmt: skip


def test_a_savepoint_that_is_passed_over_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, saved, out = tmp_path / "checkpoints", tmp_path / "saved", tmp_path / "out"
    caplog.set_level("INFO", "streame")
    job = windows(50, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(50), checkpoints=place)
    make_savepoint(place, saved)
    shutil.rmtree(place)
    for begin in (saved, saved):
        run_until(job, has_read(0), checkpoints=place, savepoint=begin)
    told = [record for record in caplog.records if "goes on from its own checkpoint" in record.getMessage()]
    assert [record.levelname for record in told] == ["INFO"]
    caplog.clear()
    other = windows(50, ends=False).sink_parquet(tmp_path / "other", name="out")
    run_until(other, has_read(50), checkpoints=tmp_path / "begun anew")
    run_until(other, has_read(0), checkpoints=tmp_path / "begun anew", savepoint=saved)
    told = [record for record in caplog.records if "goes on from its own checkpoint" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"]
    with pytest.raises(CheckpointError, match="there is no savepoint"):
        job.run(checkpoints=place, savepoint=tmp_path / "nothing")


def changed(upto: int) -> st.StreamDataFrame:
    """As `windows`, but for the sum."""
    stream = st.scan(Feed(upto, ends=True), name="feed", event_time="at")
    return stream.group_by_dynamic("at", every="10s", group_by="user").agg(n=pl.len(), sum=pl.col("n").max())


def test_a_plan_that_cannot_go_on_is_refused_with_the_difference(tmp_path: Path) -> None:
    place, out = tmp_path / "checkpoints", tmp_path / "out"
    run_until(windows(103, ends=False).sink_parquet(out, name="out"), has_read(103), checkpoints=place)
    job = changed(200).sink_parquet(out, name="out")
    with pytest.raises(PlanChanged) as refused:
        job.run(checkpoints=place)
    text = str(refused.value)
    name = "group_by_dynamic at, every 10s by user"
    assert f"changed {name}" in text
    assert "kept    feed" in text
    assert "max" in text
    assert f"--allow-dropped-state '{name}'" in text
    before = list_checkpoints(place)
    status = job.run(checkpoints=place, allow_dropped_state=[name])
    assert status.rows_in == 97
    assert list_checkpoints(place) != before
    assert output(out)["n"].sum() == 97 + 100


def test_a_verb_without_state_may_change(tmp_path: Path) -> None:
    place, out = tmp_path / "checkpoints", tmp_path / "out"
    run_until(windows(103, ends=False).sink_parquet(out, name="out"), has_read(103), checkpoints=place)
    job = windows(200, ends=True).with_columns(sum=pl.col("sum") * 1).filter(pl.col("n") > 0)
    job.sink_parquet(out, name="out").run(checkpoints=place)
    assert output(out).equals(expected(200))


AGGS = {
    "n": pl.len(),
    "sum": pl.col("n").sum(),
    "all": pl.col("n").sort().implode(),
    "last": pl.col("n").last(),
}
VERBS: dict[str, Callable[[st.StreamDataFrame], st.StreamDataFrame]] = {
    "group_by": lambda rows: rows.group_by("user", emit="on_close").agg(**AGGS),
    "windows": lambda rows: rows.group_by_dynamic("at", every="20s", group_by="user").agg(**AGGS),
    "sessions": lambda rows: rows.group_by_session("at", gap="7s", group_by="user").agg(**AGGS),
    "counts": lambda rows: rows.group_by_count(7, group_by="user").agg(**AGGS),
    "rolling": lambda rows: rows.rolling("at", period="20s", group_by="user").agg(**AGGS),
}


def reordered(verb: str, upto: int, columns: list[str], *, ends: bool) -> st.StreamDataFrame:
    """A verb behind a `select` with these columns."""
    stream = st.scan(Feed(upto, ends=ends), name="feed", event_time="at").with_columns(other=pl.col("n") * 2)
    return VERBS[verb](stream.select(columns))


@pytest.mark.parametrize("verb", ["group_by", "windows", "sessions"])
def test_another_order_of_columns_in_front_of_an_aggregate_was_refused(tmp_path: Path, verb: str) -> None:
    first, second = ["at", "user", "n"], ["other", "n", "user", "at"]
    place, out = tmp_path / "checkpoints", tmp_path / "out"
    job = reordered(verb, 103, first, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(103), checkpoints=place)
    stream = reordered(verb, 200, second, ends=True)
    assert stream.sink_parquet(out, name="out").run(checkpoints=place).rows_in == 97
    whole = reordered(verb, 200, first, ends=True).collect()
    found = st.scan_parquet(out, schema=stream.schema).collect()
    assert found.sort(pl.all()).equals(whole.sort(pl.all()))


@pytest.mark.parametrize("verb", ["counts", "rolling"])
def test_another_order_of_rows_that_are_kept_whole_is_refused(tmp_path: Path, verb: str) -> None:
    first, second = ["at", "user", "n"], ["n", "user", "at"]
    place, out = tmp_path / "checkpoints", tmp_path / "out"
    job = reordered(verb, 103, first, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(103), checkpoints=place)
    with pytest.raises(PlanChanged, match=r"was input 0: \{at: .*, is input 0: \{n: "):
        reordered(verb, 200, second, ends=True).sink_parquet(out, name="out").run(checkpoints=place)


def test_aggregates_that_differ_behind_the_hundredth_character_were_taken_for_the_same(
    tmp_path: Path,
) -> None:
    long = pl.sum_horizontal(*[pl.col("n") + each for each in range(100)])
    stream = st.scan(Feed(5, ends=True), name="feed", event_time="at")
    one, other = (
        stream.group_by("user", emit="on_close")
        .agg(x=(long + last).sum())
        .sink_parquet(tmp_path / "out")
        .identity()
        for last in (1, 2)
    )
    assert one != other


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "checkpoints"


def of_another_job(tmp_path: Path) -> Path:
    windows(5, ends=True).sink_parquet(tmp_path / "other", name="other").run(checkpoints=tmp_path / "others")
    return tmp_path / "others"


def of_a_newer_format(tmp_path: Path) -> Path:
    place = tmp_path / "newer"
    windows(5, ends=True).sink_parquet(tmp_path / "out", name="out").run(checkpoints=place)
    shutil.rmtree(tmp_path / "out")
    form = place / "FORMAT"
    form.write_bytes(form.read_bytes().replace(b"checkpoints 1", b"checkpoints 2"))
    return place


def cut_off(tmp_path: Path) -> Path:
    place = tmp_path / "damaged"
    windows(5, ends=True).sink_parquet(tmp_path / "out", name="out").run(checkpoints=place)
    newest = max((place / "m").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-20] + b"x" * 20)
    return place


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_file, "cannot be written there"),
        (of_another_job, "other"),
        (of_a_newer_format, "newer"),
        (cut_off, "checkpoint"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_checkpoints_that_cannot_be_used_are_one_clear_error(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    place = make(tmp_path)
    with pytest.raises(CheckpointError, match=words) as error:
        windows(5, ends=True).sink_parquet(tmp_path / "out", name="out").run(checkpoints=place)
    assert str(place) in str(error.value) or make is cut_off


def test_a_second_run_on_the_same_checkpoints_is_refused(tmp_path: Path) -> None:
    job = windows(5, ends=False).sink_parquet(tmp_path / "out", name="out")
    with job.start(checkpoints=tmp_path / "checkpoints"), pytest.raises(CheckpointError, match="process"):
        windows(5, ends=True).sink_parquet(tmp_path / "out 2", name="out").run(
            checkpoints=tmp_path / "checkpoints"
        )


def test_one_parquet_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    job = windows(5, ends=True).sink_parquet(tmp_path / "out.parquet", name="out")
    with pytest.raises(st.PlanError, match="directory of parts"):
        job.run(checkpoints=tmp_path / "checkpoints")
    assert not (tmp_path / "out.parquet").exists()
    job = windows(5, ends=True).sink_parquet(tmp_path / "out", name="out")
    assert job.run(checkpoints=tmp_path / "checkpoints").checkpoint
