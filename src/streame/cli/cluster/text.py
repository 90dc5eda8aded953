"""A report of a cluster for people: tables on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, report: Any) -> None:
    """Print a report.

    Args:
        console: where.
        report: a `ClusterReport`.
    """
    if not report.jobs:
        console.print(f"cluster {report.cluster}: no job has run in it")
    for job in report.jobs:
        for line in summary(job):
            console.print(line)
        tables = [
            ("nodes", NODE_COLUMNS, node_rows(job)),
            ("operators", OPERATOR_COLUMNS, operator_rows(job)),
        ]
        for title, columns, rows in tables:
            if not rows:
                continue
            if console.is_terminal:
                console.print(_table(columns, rows))
            else:
                for row in rows:
                    cells = (f"{name} {cell}" for name, cell in zip(columns, row, strict=True) if cell)
                    console.print(f"{title.removesuffix('s')}: {', '.join(cells)}")


NODE_COLUMNS = ("name", "role", "address", "since", "instances", "state")
OPERATOR_COLUMNS = ("name", "in", "out", "rejected", "late", "state", "watermark", "behind", "on")
_LEFT = {"name", "role", "address", "since", "state", "watermark", "on"}


def summary(job: Any) -> Iterator[str]:
    """The lines about a whole job."""
    leads = f", {job.leader} leads (epoch {job.epoch}, attempt {job.attempt})" if job.leader else ""
    yield f"job {job.name}: {job.state}{leads}"
    if job.error:
        yield f"  error: {job.error}"
    if job.waits_for:
        yield f"  the disk is full: no room for {job.waits_for}"
    if job.operators:
        behind = "" if job.lag_s is None else f", the watermark is {duration(job.lag_s)} behind the clock"
        yield f"  {job.rows_in:,} rows in, {job.rows_out:,} out in this attempt{behind}; state {size(job.state_bytes)}"
    if (last := job.checkpoint) is not None:
        age = "" if last.age_s is None else f", {duration(last.age_s)} old"
        took = "" if last.duration_s is None else f", took {last.duration_s:.2f} s"
        held = "" if last.state_bytes is None else f", {size(last.state_bytes)}"
        yield f"  checkpoint {last.number} of attempt {last.epoch}.{last.attempt}{age}{took}{held}"


def node_rows(job: Any) -> list[tuple[str, ...]]:
    """A row for each node."""
    rows: list[tuple[str, ...]] = []
    for node in job.nodes:
        role = "leader" if node.leads else "worker" if node.instances else "waits"
        state = f"does not answer: {node.error}" if not node.answers else node.state
        if node.leaving:
            state = f"leaving, {state}"
        if node.waits_for:
            state += f", no room for {node.waits_for}"
        since = "" if node.since is None else node.since[:19].replace("T", " ")
        rows.append((node.name, role, node.address, since, spans(node.instances), state))
    return rows


def operator_rows(job: Any) -> list[tuple[str, ...]]:
    """A row for each operator."""
    rows: list[tuple[str, ...]] = []
    for each in job.operators:
        told = each.operator
        state = size(told.state_bytes + told.state_disk_bytes) if told.state_rows else ""
        watermark = str(each.watermark)[:19].replace("T", " ") if each.watermark is not None else ""
        rows.append(
            (
                told.name,
                f"{told.rows_in:,}",
                f"{told.rows_out:,}",
                f"{told.rejected:,}" if told.rejected else "",
                f"{told.late:,}" if told.late else "",
                state,
                watermark,
                "" if each.lag_s is None else duration(each.lag_s),
                " ".join(each.nodes),
            )
        )
    return rows


def spans(numbers: tuple[int, ...]) -> str:
    """Numbers in a few characters: `0-2 5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return " ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def duration(seconds: float) -> str:
    """A duration for people."""
    for limit, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * limit:
            return f"{seconds / limit:.0f} {unit}"
    return f"{seconds:.1f} s"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=True)
    for column in columns:
        table.add_column(column, justify="left" if column in _LEFT else "right")
    for row in rows:
        table.add_row(*row)
    return table
