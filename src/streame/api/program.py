"""A job as a program that many nodes run together."""

from collections.abc import Callable, Sequence

from streame.api.checkpoints import Beginning, readable_again, run_settings, savepoint_folder
from streame.core.config import Config
from streame.errors import PlanError
from streame.io.logged import StandbySource
from streame.io.sink import Sink
from streame.plan.digest import check_functions, program_digest
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.plan.nodes import Scan, TableJoin, Write, walk
from streame.runtime.graph import Graph
from streame.runtime.runner import LogOf, Program


def program(
    name: str,
    writes: Sequence[Write],
    config: Config,
    beginning: Beginning,
    errors: Callable[[], Sink] | None,
) -> Program:
    """A job as a program.

    Args:
        name: the job's name.
        writes: its sinks, optimized.
        config: its settings.
        beginning: from which state it begins.
        errors: makes the sink of all dead letters.

    Raises:
        PlanError: when other nodes could not run it.
    """

    def graph(config: Config, logs: LogOf | None) -> Graph:
        return lower(writes if logs is None else readable_again(writes, logs), config, errors, apart=True)

    def check() -> None:
        _check_sources(writes)
        check_functions(writes)
        for write in writes:
            write.make_sink().check_cluster()

    outside = [
        node.source
        for node in walk(*writes)
        if isinstance(node, Scan) and isinstance(node.source, StandbySource)
    ]

    def stand_by(leader: str | None) -> None:
        for source in outside:
            source.stand_by(leader)

    def stop_standing_by(why: str) -> None:
        for source in outside:
            source.stop_standing_by(why)

    return Program(
        name,
        plan_identity(writes),
        program_digest(writes, config),
        config,
        run_settings(config),
        tuple(beginning.allow_dropped),
        None if beginning.savepoint is None else savepoint_folder(beginning.savepoint),
        kept_in_etcd(writes),
        check,
        graph,
        stand_by,
        stop_standing_by,
    )


def _check_sources(writes: Sequence[Write]) -> None:
    """Refuse iterators: a node reads its sources anew whenever another one has come or gone."""
    for node in walk(*writes):
        if isinstance(node, Scan) and getattr(node.source, "read_once", False):
            raise PlanError(
                f"source {node.name!r} is an iterator, which can be read only once, and in a cluster sources are read again when "
                "nodes come and go; give a list or an object whose __iter__ starts anew, or put the rows into an st.Queue"
            )


def kept_in_etcd(writes: Sequence[Write]) -> frozenset[str]:
    """The names of operators whose state is to be in etcd."""
    joins = (node for node in walk(*writes) if isinstance(node, TableJoin))
    return frozenset(join.name for join in joins if join.keeps_in == "etcd")
