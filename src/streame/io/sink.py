"""The interface of a sink: where rows go."""

import polars as pl


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
