"""A thread that puts numbered rows into the queue of its node, and writes down what became of each."""

import os
import threading
from pathlib import Path

import streame as st
from streame.errors import NotAccepted, NotLeader, StreameError

REST_S = 0.05
AT_ONCE = 3


class Putter:
    """Puts rows until it is told to end the queue, or its node has ended.

    A row that was not taken is put again; one of which nobody knows is not. What became of a row stands in a file, a line
    each, which is there whatever becomes of the process. In a second file is where the node has sent it last.

    Args:
        items: the queue.
        folder: of the job; a file `ended` in it says that no more rows are wanted.
        client: who puts the rows, a name that no other process has or had.
    """

    def __init__(self, items: st.Queue, folder: Path, client: str) -> None:
        self._items, self._folder, self._client = items, folder, client
        self._file = os.open(folder / f"{client}.puts", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="putter", daemon=True)

    def start(self) -> None:
        """Begin to put."""
        self._thread.start()

    def stop(self) -> None:
        """The job has ended on this node; rows are put a moment longer, as by somebody who does not know."""
        self._over.wait(2 * REST_S)
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.is_set():
            if (self._folder / "ended").exists():
                self._end()
                return
            number += self._put(number, 1 + number % AT_ONCE)
            self._over.wait(REST_S)

    def _put(self, first: int, count: int) -> int:
        """Put some rows together; returns how many are done with."""
        numbers = range(first, first + count)
        rows = [{"client": self._client, "n": each} for each in numbers]
        try:
            self._items.put_many(rows)
        except NotAccepted as error:
            if isinstance(error, NotLeader):
                (self._folder / f"{self._client}.sent").write_text(error.leader or "nowhere")
            taken = _taken(error)
            self._note("accepted", numbers[:taken])
            return taken
        except StreameError:
            self._note("unknown", numbers)
        else:
            self._note("accepted", numbers)
        return count

    def _end(self) -> None:
        """Whoever leads says that no row follows."""
        while not self._over.is_set():
            try:
                self._items.close()
            except StreameError:
                self._over.wait(REST_S)
            else:
                return

    def _note(self, what: str, numbers: range) -> None:
        os.write(self._file, "".join(f"{what} {number}\n" for number in numbers).encode())


def _taken(error: NotAccepted) -> int:
    """How many rows were taken before the others were not."""
    words = str(error).rpartition("; the first ")[2].split()
    return int(words[0]) if words[1:] == ["rows", "were", "accepted"] else 0
