"""The commit log of a directory: which of its parts count, one create-only file for each checkpoint that has output.

out/part-0-0000000012-000000-1a2b3c4d.parquet    shard, checkpoint, place within it, digest
out/_streame/commits/12.json                     its parts, and how many there are up to here
out/_streame/tmp/...                             what is not finished or not decided
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xxhash import xxh3_128

from streame.core.full_disk import is_full_disk
from streame.core.staging import Decided
from streame.errors import CheckpointDamaged, ConnectorError, SinkRegressed
from streame.io.commits import Commit, Part, Written
from streame.io.output_file import synced
from streame.storage.disk import Disk

PRIVATE = "_streame"
COMMITS = "_streame/commits"
STAGED = "_streame/tmp"
README = "_streame/README.txt"

_EPOCH = re.compile(r"epoch-(\d+)-")
_COMMIT = re.compile(r"(\d+)\.json")
_PART = re.compile(r"part-\d+-(\d{10,})-\d{6,}-[0-9a-f]{8}\.")
_ANY_PART = re.compile(r"part-\d+[-.]")
_READ_BYTES = 8 * 2**20
_WAY_OUT = "write to another directory, run the job with the checkpoints that belong to this one, or empty it"
_BEGIN_ANEW = "bring back what was there, or begin anew with an empty directory and new checkpoints"
_EXPLAINED = """\
This directory is written by a job with checkpoints. The files in commits/ list the parts that count; `tmp` holds what
does not count yet. Read it with streame's scan functions, or part-* with any other program.
"""


def committed(directory: str | Path) -> Callable[[str], bool] | None:
    """Which files of a directory count.

    To be asked before the directory is listed: the parts of a commit are there before it.

    Returns:
        Whether a name is that of a committed part; `None` if the directory has no commit log.
    """
    try:
        names = [path.name for path in (Path(directory) / COMMITS).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return None
    numbers = set(_numbers(names))

    def counts(name: str) -> bool:
        found = _PART.match(name)
        return found is not None and int(found[1]) in numbers

    return counts


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted(int(found[1]) for name in names if (found := _COMMIT.fullmatch(name)))


def own_names(token: str, epoch: int | None) -> str:
    """How the names of what a writer stages begin.

    Args:
        token: what no other writer has.
        epoch: that of the writer, if there may be others.
    """
    return token if epoch is None else f"epoch-{epoch}-{token}"


class CommitLog:
    """The commit log of a directory, as a writer sees it: its only one, or one of several with different epochs.

    Of those several the highest writes what is new. A lower one may be late with anything. It can only publish what is
    decided, and that is the same whoever does it: names are given once, and what has been given or removed by another
    meanwhile is looked at again. And it removes nothing that a higher one has staged.

    Args:
        directory: for messages.
        disk: the directory.
        own: how the names of staged parts begin that this process has written, which need no second look.
        epoch: that of the writer; `None` if it is alone.
    """

    def __init__(self, directory: Path, disk: Disk, own: str, epoch: int | None = None) -> None:
        self._directory = directory
        self._disk = disk
        self._own = own
        self._epoch = epoch
        self._numbers: list[int] = []

    def join(self, decided: Sequence[Decided], new: str) -> Written:
        """Publish what is decided, remove what is not, and say what has been written so far.

        Args:
            decided: the output of the checkpoints that are kept, oldest first.
            new: the number of a sink that begins here.

        Raises:
            ConnectorError: when the directory belongs to somebody else, or is ahead of the checkpoints.
            SinkRegressed: when a commit is missing that is not among `decided`.
        """
        known = [one for one in decided if one.staged.note is not None]
        written = Written(**known[-1].staged.note) if known else Written(new)
        self._numbers = _numbers(self._disk.names(COMMITS))
        self._require_ours(written, known)
        self._begin()
        if known:
            self._require_complete(known[0])
        for one in known:
            self.publish(one)
        for name in self._disk.names(STAGED):
            if self._is_left(name):
                self._clear(f"{STAGED}/{name}")
        return written

    def publish(self, decided: Decided) -> None:
        """Make the parts of a checkpoint count; what is done already is not done again.

        Raises:
            ConnectorError: when something else has the name of a part or of the commit.
            SinkRegressed: when a part is neither staged nor there.
            CheckpointDamaged: when a staged part is not what was written.
        """
        staged = [Part(**piece) for piece in decided.staged.pieces]
        if not staged:
            return
        commit = self._commit_of(decided, staged)
        there = self._read(decided.checkpoint)
        if there is None:
            for one, part in zip(staged, commit.parts, strict=True):
                self._link(one, part)
            synced(self._disk, "", directory=True)
            there = self._write(commit)
        if (there.written, there.parts) != (commit.written, commit.parts):
            raise ConnectorError(
                f"{self._place(commit.checkpoint)}: is the commit of other output than that of checkpoint "
                f"{commit.checkpoint}; {_WAY_OUT}"
            )
        synced(self._disk, COMMITS, directory=True)
        place = bisect_left(self._numbers, commit.checkpoint)
        if self._numbers[place : place + 1] != [
            commit.checkpoint
        ]:  # it may be there, and have come since they were listed
            self._numbers.insert(place, commit.checkpoint)
        for part in staged:
            self._disk.remove(f"{STAGED}/{part.name}")

    def _begin(self) -> None:
        """Make the folders, and make sure of the names that are there: after a mere crash a power cut may still come."""
        for folder in (STAGED, COMMITS):
            self._disk.make_directory(folder)
        for folder in ("", PRIVATE, COMMITS, STAGED):
            synced(self._disk, folder, directory=True)
        if self._disk.size(README) is None:
            self._disk.write(README, [_EXPLAINED.encode()])
        self._require_links()

    def _require_links(self) -> None:
        """Find out now, and not at the first checkpoint."""
        probe = f"{STAGED}/{self._own}-probe.tmp"
        try:
            self._disk.link(README, probe)
        except OSError as error:
            if is_full_disk(error):
                raise
            raise ConnectorError(
                f"{self._directory}: this file system cannot give a file a second name ({error.strerror}), which parts "
                "need to appear whole; write to another one"
            ) from error
        self._disk.remove(probe)

    def _require_ours(self, written: Written, known: Sequence[Decided]) -> None:
        numbers = self._numbers
        if numbers and (found := self._must_read(numbers[-1])).written.sink != written.sink:
            whose = "another job" if known else "a job with other checkpoints than those of this run"
            raise ConnectorError(
                f"{self._directory}: holds {found.written.rows:,} rows of {whose}, committed up to checkpoint "
                f"{numbers[-1]}; {_WAY_OUT}"
            )
        if known and numbers and numbers[-1] > known[-1].checkpoint:
            raise ConnectorError(
                f"{self._directory}: holds the output of checkpoint {numbers[-1]}, but the newest checkpoint is "
                f"{known[-1].checkpoint}, so rows would be written twice; bring the newer checkpoints back, or write "
                "to another directory with new checkpoints"
            )
        if known and numbers:
            self._require_same_past(known)
        parts = [name for name in self._disk.names("") if _ANY_PART.match(name)]
        if parts and not numbers and not written.parts:
            raise ConnectorError(
                f"{self._directory}: holds parts of a run without checkpoints, like {parts[0]}; readers of the commit "
                "log would not see them. Move them away, or write to another directory"
            )

    def _require_same_past(self, known: Sequence[Decided]) -> None:
        """Refuse what a job that began from a savepoint of this one has added: numbers and the sink may be the same."""
        place = bisect_right([one.checkpoint for one in known], self._numbers[-1])
        said = _written_before(known[0]) if place == 0 else Written(**known[place - 1].staged.note)
        notes = {one.checkpoint: one for one in known if one.staged.pieces}
        recent = self._numbers[bisect_left(self._numbers, known[0].checkpoint) :]
        unknown = next((number for number in recent if number not in notes), None)
        last = self._must_read(self._numbers[-1])
        if unknown is None and (place == 0 or last.written == said) and last.written.parts <= said.parts:
            return
        raise ConnectorError(
            f"{self._directory}: holds output of another job that went on from a checkpoint of this one: "
            f"{last.written.rows:,} rows in {last.written.parts:,} parts, committed up to checkpoint {last.checkpoint}, "
            f"where the checkpoints of this job know of {said.rows:,} rows in {said.parts:,} parts"
            + (f", and of no output of checkpoint {unknown}" if unknown is not None else "")
            + f"; rows would be written twice. {_WAY_OUT[0].upper()}{_WAY_OUT[1:]}"
        )

    def _require_complete(self, oldest: Decided) -> None:
        """Everything that was written before the oldest kept checkpoint must be there."""
        before = _written_before(oldest).parts
        numbers = self._numbers[: bisect_left(self._numbers, oldest.checkpoint)]
        last = self._must_read(numbers[-1]) if numbers else None
        found = last.written.parts if last else 0
        if found == before and (last is None or last.commit == len(numbers)):
            return
        raise SinkRegressed(
            f"{self._directory}: lacks output that was committed before checkpoint {oldest.checkpoint}, the oldest whose "
            f"output is kept: {before:,} parts were written, and the {len(numbers):,} commits that are there, up to checkpoint "
            f"{numbers[-1] if numbers else 0}, are not all of them; {_BEGIN_ANEW}"
        )

    def _commit_of(self, decided: Decided, staged: Sequence[Part]) -> Commit:
        number = decided.checkpoint
        parts = [
            replace(one, name=f"part-0-{number:010}-{place:06}-{one.digest[:8]}{_suffix(one.name)}")
            for place, one in enumerate(staged)
        ]
        earlier = bisect_left(self._numbers, number)
        return Commit(number, earlier + 1, Written(**decided.staged.note), tuple(parts))

    def _link(self, staged: Part, part: Part) -> None:
        if self._is_there(part):
            return
        try:
            self._link_staged(staged, part)
        except (FileNotFoundError, FileExistsError):
            if not self._is_there(part):
                raise SinkRegressed(
                    f"{self._directory / part.name}: is gone, and not staged any more; {_BEGIN_ANEW}"
                ) from None

    def _is_there(self, part: Part) -> bool:
        if self._disk.size(part.name) is None:
            return False
        if self._digest(part.name) != part.digest:
            raise ConnectorError(
                f"{self._directory / part.name}: is not what was written under this name; remove it"
            )
        return True

    def _link_staged(self, staged: Part, part: Part) -> None:
        source = f"{STAGED}/{staged.name}"
        if not staged.name.startswith(self._own) and self._digest(source) != staged.digest:
            raise CheckpointDamaged(
                f"{self._directory / source}: is not what was written: the output of a checkpoint is damaged, and is "
                "not published; bring back the file that was there"
            )
        self._disk.link(source, part.name)

    def _write(self, commit: Commit) -> Commit:
        """Write a commit; returns the one that is there, which another writer may have written first."""
        temporary = f"{STAGED}/{self._own}-commit-{commit.checkpoint}.tmp"
        try:
            self._disk.write(temporary, [commit.encoded()])
            synced(self._disk, temporary)
            self._disk.link(temporary, f"{COMMITS}/{commit.checkpoint}.json")
        except FileExistsError:
            return self._must_read(commit.checkpoint)
        finally:
            self._disk.remove(temporary)
        return commit

    def _digest(self, path: str) -> str:
        return digest_of(self._disk, path)

    def _read(self, number: int) -> Commit | None:
        try:
            text = self._disk.read(f"{COMMITS}/{number}.json")
        except FileNotFoundError:
            return None
        return Commit.decoded(self._place(number), text)

    def _must_read(self, number: int) -> Commit:
        commit = self._read(number)
        assert commit is not None, number
        return commit

    def _place(self, number: int) -> str:
        return str(self._directory / COMMITS / f"{number}.json")

    def _is_left(self, name: str) -> bool:
        """Whether nobody needs what is staged: of the same epoch or a higher one somebody may."""
        found = _EPOCH.match(name)
        return self._epoch is None or found is None or int(found[1]) < self._epoch

    def _clear(self, path: str) -> None:
        if path.endswith(".pieces"):
            self._disk.remove_directory(path)
        else:
            self._disk.remove(path)


def _written_before(decided: Decided) -> Written:
    """What had been written before a checkpoint."""
    written = Written(**decided.staged.note)
    parts = [Part(**piece) for piece in decided.staged.pieces]
    return Written(written.sink, written.parts - len(parts), written.rows - sum(part.rows for part in parts))


def _suffix(staged: str) -> str:
    """How the name of a part ends, by that of its staged file."""
    _, dot, suffix = staged.partition(".")
    return dot + suffix.removesuffix(".tmp")


def digest_of(disk: Disk, path: str) -> str:
    """The digest of a file, as it stands in commits."""
    digest = xxh3_128()
    for piece in _pieces(disk, path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(disk: Disk, path: str) -> Iterator[bytes]:
    offset = 0
    while piece := disk.read(path, offset, _READ_BYTES):
        yield piece
        offset += len(piece)
