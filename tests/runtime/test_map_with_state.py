"""Map with state, step by step: order, timers, what is forgotten, what is late, what is refused."""

from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import DataError
from streame.testing import Driver, batch, to_text
from tests.runtime.recorder import OperatorBench

SCHEMA = {"user": pl.String, "what": pl.String, "at": pl.Int64}


def said(group: st.Group, what: str, at: Any) -> pl.DataFrame:
    """One row of `SCHEMA`."""
    return pl.DataFrame({"user": [group.key[0]], "what": [what], "at": [at]}, schema=SCHEMA)


def calls(rows: pl.DataFrame, state: int | None, group: st.Group) -> tuple[pl.DataFrame, int]:
    """Says what it was called with, and counts the calls."""
    number = (state or 0) + 1
    if group.fired:
        return said(group, f"{number}: {group.fired}", group.due if group.fired == "time" else 0), number
    times = ",".join(map(str, rows["at"])) if "at" in rows.columns else str(rows.height)
    return said(group, f"{number}: {times}", group.watermark if "at" in rows.columns else 0), number


def alarm(rows: pl.DataFrame, last: int | None, group: st.Group) -> tuple[pl.DataFrame | None, int | None]:
    """Says when a user has been silent for 30 ticks."""
    if group.fired:
        return said(group, "silent", group.due), None
    group.call_at(rows["at"].to_list()[-1] + 30)
    return None, rows["at"].to_list()[-1]


def timed(watermark: int | str = "0s", **settings: Any) -> st.StreamDataFrame:
    """Rows of users, with an event time in ticks."""
    schema = {"user": pl.String, "at": pl.Int64}
    return st.scan_rows([], schema, name="rows", event_time="at", watermark=watermark, **settings)


def mapped(
    stream: st.StreamDataFrame, function: Any, state: Any = None, **settings: Any
) -> st.StreamDataFrame:
    """The function on the rows of each user."""
    settings = {"ttl": None, "schema": SCHEMA, **settings}
    return stream.group_by("user").map_with_state(function, state=state, **settings)


def taken(pipeline: Driver, sink: str | None = None) -> str:
    """What has come out, as a table of which spaces do not matter."""
    frames = pipeline.take(sink)
    return to_text(pl.concat(frames)) if frames else ""


def table(text: str) -> str:
    """A text table in its usual form."""
    return to_text(batch(text))


def test_rows_wait_for_the_watermark_and_come_in_order() -> None:
    with Driver(mapped(timed(10), calls)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 5\n bob 9\n ann 3\n ann 5"))
        assert taken(pipeline) == ""
        pipeline.push(batch("user:s at:i\n bob 15"))  # the watermark is 5
        assert taken(pipeline) == table('user:s what:s at:i\n ann "1: 3" -1')
        pipeline.push(batch("user:s at:i\n ann 7\n ann 30"))  # 20
        expected = 'user:s what:s at:i\n ann "2: 5,5,7" 5\n bob "1: 9,15" 5'
        assert taken(pipeline) == table(expected)
        pipeline.end()
        assert taken(pipeline) == table('user:s what:s at:i\n ann "3: 30" 20')


def test_rows_may_come_as_they_arrive() -> None:
    with Driver(mapped(timed(10), calls, in_order=False)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 5\n bob 9\n ann 3"))
        assert taken(pipeline) == table('user:s what:s at:i\n ann "1: 3,5" .\n bob "1: 9" .')
        pipeline.push(batch("user:s at:i\n ann 100\n"))
        pipeline.take()
        pipeline.push(batch("user:s at:i\n ann 1\n"))
        assert taken(pipeline) == table('user:s what:s at:i\n ann "3: 1" 90')


def test_late_rows_are_set_aside() -> None:
    late = mapped(timed(10), calls)
    job = st.job([late.sink_console(name="out"), late.late.sink_console(name="late")])
    with Driver(job) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 20\n bob 10\n bob 9\n cid 11"))
        pipeline.end()
        assert taken(pipeline, "sink late") == table("user:s at:i\n bob 9")
        rows = pl.concat(pipeline.take("sink out")).rows()
        assert sorted(rows) == [("ann", "1: 20", 10), ("bob", "1: 10", 10), ("cid", "1: 11", 10)]


def test_a_timer_fires_in_its_place_among_the_rows() -> None:
    with Driver(mapped(timed(), alarm)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0"))
        pipeline.push(batch("user:s at:i\n ann 20"))
        pipeline.push(batch("user:s at:i\n bob 50"))
        assert taken(pipeline) == ""  # 50 is not passed
        pipeline.push(batch("user:s at:i\n ann 51\n bob 200"))
        assert taken(pipeline) == table("user:s what:s at:i\n ann silent 50\n bob silent 80\n ann silent 81")
        pipeline.end()
        assert taken(pipeline) == table("user:s what:s at:i\n bob silent 230")


def test_rows_up_to_a_timer_come_before_it() -> None:
    def armed(rows: pl.DataFrame, state: int, group: st.Group) -> tuple[pl.DataFrame, int]:
        if state == 0:
            group.call_at(10)
        return calls(rows, state, group)

    with Driver(mapped(timed(), armed, 0)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 1\n bob 2"))
        pipeline.push(batch("user:s at:i\n ann 9\n ann 10\n ann 11\n ann 12"))
        pipeline.push(batch("user:s at:i\n bob 13"))
        found = pl.concat(pipeline.take()).filter(user="ann")["what"].to_list()
        assert found == ["1: 1", "2: 9,10", "3: time", "4: 11", "5: 12"]


def test_a_timer_may_set_the_next_one_and_the_end_fires_once() -> None:
    def ticking(rows: pl.DataFrame, state: int, group: st.Group) -> tuple[pl.DataFrame | None, int]:
        group.call_at((group.due or 0) + 10)
        return (said(group, "tick", group.due) if group.fired else None), state

    with Driver(mapped(timed(), ticking, 0)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0"))
        pipeline.push(batch("user:s at:i\n bob 35"))
        assert pl.concat(pipeline.take())["at"].to_list() == [10, 20, 30]
        pipeline.end()
        ended = pl.concat(pipeline.take())
        assert ended.filter(user="ann")["at"].to_list() == [40]
        assert ended.filter(user="bob")["at"].to_list() == [10]


def test_timers_of_the_wall_clock() -> None:
    def debounced(
        rows: pl.DataFrame, state: int | None, group: st.Group
    ) -> tuple[pl.DataFrame | None, int | None]:
        if group.fired == "clock":
            return said(group, f"{state}", int(group.due.timestamp())), None
        group.call_after("10s")
        return None, (state or 0) + rows.height

    stream = st.scan_rows([], {"user": pl.String})
    with Driver(mapped(stream, debounced)) as pipeline:
        pipeline.push(batch("user:s\n ann\n bob"))
        pipeline.advance("6s")
        pipeline.push(batch("user:s\n ann"))
        pipeline.advance("6s")
        assert taken(pipeline) == table('user:s what:s at:i\n bob "1" 10')
        pipeline.advance("4s")
        assert taken(pipeline) == table('user:s what:s at:i\n ann "2" 16')
        pipeline.push(batch("user:s\n cid"))
        pipeline.end()
        assert taken(pipeline) == table('user:s what:s at:i\n cid "1" 26')


def test_a_quiet_key_begins_anew() -> None:
    with Driver(mapped(timed(), calls, ttl=10)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0\n ann 9\n ann 19\n ann 28\n bob 28\n zoe 99"))
        found = pl.concat(pipeline.take()).select("user", "what").rows()
        assert found == [("ann", "1: 0,9"), ("ann", "1: 19,28"), ("bob", "1: 28")]


def test_a_key_with_a_timer_is_not_forgotten() -> None:
    def waits(rows: pl.DataFrame, state: int | None, group: st.Group) -> tuple[pl.DataFrame, int]:
        if not group.fired:
            group.call_at(30)
        return calls(rows, state, group)

    with Driver(mapped(timed(), waits, ttl=10)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0\n ann 25\n bob 26\n bob 99"))
        found = pl.concat(pipeline.take()).filter(user="ann")["what"].to_list()
        assert found == ["1: 0", "2: 25", "3: time"]


def test_without_event_time_the_wall_clock_forgets() -> None:
    stream = st.scan_rows([], {"user": pl.String})
    with Driver(mapped(stream, calls, ttl="10s")) as pipeline:
        pipeline.push(batch("user:s\n ann\n bob"))
        pipeline.advance("9s")
        pipeline.push(batch("user:s\n ann"))
        pipeline.advance("5s")
        pipeline.push(batch("user:s\n ann\n bob"))
        whats = [row for frame in pipeline.take() for row in frame["what"]]
        assert whats == ["1: 1", "1: 1", "2: 1", "3: 1", "1: 1"]


def test_no_state_and_no_timer_is_no_entry() -> None:
    def forgets(rows: pl.DataFrame, state: Any, group: st.Group) -> tuple[None, str | None]:
        return None, "kept" if group.key[0] == "ann" else None

    from_plan = mapped(st.scan_rows([], {"user": pl.String}), forgets)
    with Driver(from_plan) as pipeline:
        pipeline.push(batch("user:s\n ann\n bob\n cid"))
        sizes = [stage.operator.state_size() for task in pipeline._tasks for stage in task.stages()]
        assert max(size.rows for size in sizes) == 1


def test_what_the_function_does_to_its_state_has_no_effect_until_it_is_returned() -> None:
    def spoils(
        rows: pl.DataFrame, state: dict[str, int], group: st.Group
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        state["n"] = state.get("n", 0) + 1
        if "bad" in rows["what"]:
            raise ValueError("a bad row")
        return said(group, "calls", state["n"]), state

    rows = st.scan_rows([], {"user": pl.String, "what": pl.String}, on_error="dead_letter", name="rows")
    with Driver(mapped(rows, spoils, dict)) as pipeline:
        pipeline.push(batch("user:s what:s\n ann good\n bob good"))
        pipeline.push(batch("user:s what:s\n ann good\n ann bad\n bob good"))
        pipeline.push(batch("user:s what:s\n ann good"))
        found = [row for frame in pipeline.take() for row in frame.select("user", "at").rows()]
        assert found == [("ann", 1), ("bob", 1), ("bob", 2), ("ann", 2)]
        letters = pipeline.rejected()
        assert letters["offset"].to_list() == [2, 3]
        assert set(letters["kind"]) == {"compute"}
        assert set(letters["message"]) == {"ValueError: a bad row"}
        assert letters["raw"].to_list() == [b'{"user":"ann","what":"good"}', b'{"user":"ann","what":"bad"}']


def test_a_timer_that_raises_is_a_letter_with_the_key() -> None:
    def fails(rows: pl.DataFrame, state: Any, group: st.Group) -> tuple[None, int]:
        if group.fired:
            raise ValueError("no rows")
        group.call_at(5)
        return None, 1

    with Driver(mapped(timed(on_error="dead_letter"), fails)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0\n bob 9"))
        pipeline.end()
        letters = pipeline.rejected()
        assert letters.select("offset", "message", "raw").rows() == [
            (None, "ValueError: no rows", b'{"user":"ann"}'),
            (None, "ValueError: no rows", b'{"user":"bob"}'),
        ]


def test_rows_without_a_time_are_refused() -> None:
    with Driver(mapped(timed(on_error="dead_letter"), calls)) as pipeline:
        pipeline.push(batch("user:s at:i\n ann 0\n ann .\n bob 9"))
        assert pipeline.rejected().select("offset", "kind").rows() == [(1, "time")]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "a NoneType; it must be a pair"),
        ((1, 2, 3), "a tuple of 3; it must be a pair"),
        (([], 1), "a list as its rows"),
        ((pl.DataFrame({"user": ["ann"]}), 1), r"the columns \{'user': String\}, but schema= says"),
        ((None, {"a": (1, 2)}), r"a state that cannot be kept: it\['a'\] is a tuple"),
        ((None, object()), "a state that cannot be kept: .*a object has no encoding"),
    ],
)
def test_a_function_that_breaks_its_word_ends_the_job(returned: Any, message: str) -> None:
    stream = st.scan_rows([], {"user": pl.String}, on_error="dead_letter")
    pipeline = Driver(mapped(stream, lambda rows, state, group: returned))
    with pytest.raises(DataError, match=f"the function returned for user='ann' {message}") as raised:
        pipeline.push(batch("user:s\n ann"))
    assert raised.value.__notes__ == ["in operator map_with_state user"]


def test_the_strictest_policy_ends_the_job() -> None:
    def fails(rows: pl.DataFrame, state: Any, group: st.Group) -> Any:
        raise KeyError("nothing")

    pipeline = Driver(mapped(st.scan_rows([], {"user": pl.String}, name="rows"), fails))
    with pytest.raises(DataError, match="KeyError: 'nothing' at source 'rows', split 'pushed', offset 0"):
        pipeline.push(batch("user:s\n ann"))


def test_computed_keys_are_not_among_the_rows() -> None:
    def keys(rows: pl.DataFrame, state: None, group: st.Group) -> tuple[pl.DataFrame, None]:
        return rows.with_columns(key=pl.lit(str(group.key))), None

    rows = st.scan_frames([pl.DataFrame({"qty": [1, 2, 3]})])
    schema = {"qty": pl.Int64, "key": pl.String}
    found = rows.group_by(odd=pl.col("qty") % 2 == 1).map_with_state(
        keys, state=None, schema=schema, ttl=None
    )
    assert sorted(found.collect().rows()) == [(1, "(True,)"), (2, "(False,)"), (3, "(True,)")]


def test_windows_behind_it_close_as_if_it_were_not_there() -> None:
    def same(rows: pl.DataFrame, state: None, group: st.Group) -> tuple[pl.DataFrame, None]:
        return rows, None

    stream = timed(20)
    counted = mapped(stream, same, schema=stream.schema).group_by_dynamic("at", every="10i").agg(n=pl.len())
    with Driver(counted) as pipeline:
        pipeline.push(batch("user:s at:i\n bob 12\n ann 3\n cid 25\n ann 11\n bob 5"))
        pipeline.push(batch("user:s at:i\n ann 41"))
        assert taken(pipeline) == table("at:i n:[UInt32]\n 0 2\n 10 2")


def test_a_stream_of_no_rows_asks_nothing_of_the_clock() -> None:
    bench = OperatorBench(_operator())
    bench.watermark(5)
    bench.end()
    assert bench.timer_us is None
    assert bench.out.watermarks == [5]


def _operator() -> Any:
    """The operator of a plan."""
    with Driver(mapped(timed(), calls)) as pipeline:
        (operator,) = [
            stage.operator
            for task in pipeline._tasks
            for stage in task.stages()
            if stage.name == "map_with_state user"
        ]
    return operator
