"""The interface of a sink: where rows go."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from streame.core.staging import Decided, Outbox, Staged

Delivery = Literal["exactly_once", "at_least_once"]


class Sink:
    """Rows to somewhere. A sink of your own inherits from this and needs only `write`.

    In one run all methods but `interrupt` are called from one thread, `open` first, and `close` or `abort` last,
    exactly once, unless `open` failed. What any of them raises ends the job, as a `ConnectorError`.

    Example:
        >>> import polars as pl, streame as st
        >>> class Alarm(st.Sink):
        ...     def write(self, frame):
        ...         print("out of stock:", *frame["item"])
        >>> stock = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "left": [0, 4]})])
        >>> _ = st.sink(stock.filter(left=0), Alarm()).run()
        out of stock: tea
    """

    separate: bool = True
    """Whether writing is work or waiting enough to have a thread of its own."""

    @property
    def delivery(self) -> Delivery:
        """What a job with checkpoints promises of its rows: of this sink that none is lost, but some may come twice."""
        return "at_least_once"

    def check_checkpoints(self) -> None:
        """Called before a job with checkpoints starts; a sink that cannot be used there says so.

        Raises:
            PlanError: with the reason and the way out.
        """

    def check_cluster(self) -> None:
        """Called before a job starts in a cluster, and before `open`; a sink that cannot be used there says so.

        There the sink works in the process that leads. When another one takes over, an old leader that was only paused
        may go on for a while: it may write, and publish what is decided, but it decides nothing.

        Raises:
            PlanError: with the reason and the way out.
        """

    def open(self, schema: pl.Schema) -> None:
        """Get ready to take rows; called once for every run, before the first source is read.

        Args:
            schema: columns and dtypes of every frame that comes.
        """

    def write(self, frame: pl.DataFrame) -> None:
        """Take some rows, in order. Blocking here slows the sources down; nothing is dropped.

        Args:
            frame: at least one row, of the columns and dtypes that `open` was told.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Make what was written visible; called when no rows have come for a while and at least every second."""

    def close(self) -> None:
        """All rows have come: finish the output."""

    def interrupt(self) -> None:
        """The job has failed: let `write` wait no longer. The only method that is called from another thread."""

    def abort(self) -> None:
        """The job failed: release what is held, and leave nothing that looks finished but is not."""


class TransactionalSink(Sink):
    """A sink whose output is exactly once where a job has checkpoints: it is staged, decided, then published.

    Without checkpoints it is called like any other sink. With them `join_checkpoints` is called right after `open`;
    from then on what is written stays hidden until `publish`, `stage` is called for every checkpoint, `flush` makes
    nothing visible, and `close` and `abort` only release what is held: what was not staged is written again.

    Two rules make it safe. What `stage` returned must last through a power cut. And `publish` must be idempotent: it
    may be called again for the same checkpoint after a crash at any moment of the first call, then in a new process.
    If `write` or `stage` raises an `OSError` because the disk is full, it will be called again with the same rows.
    """

    @property
    def delivery(self) -> Delivery:
        """What a job with checkpoints promises of its rows: that each comes once."""
        return "exactly_once"

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """Begin, or go on where the last checkpoint was.

        Publishes what is decided but not visible yet, and removes what was staged but never decided.

        Args:
            decided: the output of the checkpoints that are still kept, oldest first; nothing for a new job. What
                comes before the newest was published, unless the output has been set back since.
            outbox: where staged output may be kept; valid until `close`. If it has an epoch, sinks of other epochs
                may be at work in the same place: those of lower ones may publish what is decided, and must do no harm.

        Raises:
            SinkRegressed: when output is missing that is not among `decided`.
        """
        raise NotImplementedError

    def stage(self) -> Staged:
        """Make what was written since the last call durable, and say what `publish` needs."""
        raise NotImplementedError

    def publish(self, decided: Decided) -> None:
        """Make the output of a checkpoint visible; called from another thread, while rows are written."""
        raise NotImplementedError
