"""Decoding ahead: while one block is worked on, the next ones are decoded, and all come out in order."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from streame.io.files.records import Block
from streame.io.source import Chunk

DECODERS = 3
"""How many blocks are decoded at once. Polars leaves the interpreter's lock alone, so they do run side by side."""

BLOCKS_AHEAD = 4
"""How many blocks may be decoded and not yet taken: a bound on memory."""


def decoded_ahead(blocks: Iterator[Block | None]) -> Iterator[Chunk | None]:
    """The chunks of all blocks, in order; `None` where that comes.

    An error while blocks are cut is raised behind the rows of the blocks before it.
    """
    waiting: deque[Future[list[Chunk]]] = deque()
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="streame decoder") as pool:
        try:
            for block in _failing_last(blocks):
                if block is None:
                    yield None
                    continue
                waiting.append(pool.submit(block))
                if len(waiting) > BLOCKS_AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _failing_last(blocks: Iterator[Block | None]) -> Iterator[Block | None]:
    """The blocks, and in the place of an error one that raises it when it is decoded."""
    try:
        yield from blocks
    except Exception as error:
        failure = error

        def fail() -> list[Chunk]:
            raise failure

        yield fail
