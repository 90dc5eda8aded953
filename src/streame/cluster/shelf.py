"""State of small tables in etcd, for who asks for that: the objects of checkpoints whose names begin with `etcd/`.

etcd keeps all of its data in memory, on every member, and takes no large requests. So there is a limit for a whole job, and
what is beyond it is refused.
"""

from collections.abc import Iterable
from urllib.parse import quote

from streame.cluster.etcd.interface import Compare, Delete, Etcd, Field, Put, Transaction
from streame.errors import CheckpointError, EtcdError, StreameError, Unknown
from streame.state.checkpoint.manifest import StoredFile
from streame.storage.disk import Files
from streame.storage.objects import Taken

STATE_BYTES_MAX = 256 * 1024
"""How many bytes a job may have in etcd."""

STATE_FOLDER = "+state"
"""Beside the keys of jobs, below the cluster; a job's name never has a plus sign there, so that it is none of them."""

FOLDER = "etcd"

_TRIES = 5


class Shelf:
    """Objects in etcd, each made once.

    Args:
        etcd: where.
        cluster: the name of the cluster.
        job: the name of the job.
    """

    def __init__(self, etcd: Etcd, cluster: str, job: str) -> None:
        self._prefix = f"/streame/{quote(cluster, safe='')}/{STATE_FOLDER}/{quote(job, safe='')}/"
        self._etcd = etcd

    def put_new(self, name: str, data: bytes) -> None:
        """Make an object, unless something else has the name; see `ObjectStore.put_new`.

        Raises:
            Taken: when something else is there.
            CheckpointError: when etcd does not answer; nobody knows whether the object will be there.
            StreameError: when it is too large.
        """
        check_size(len(data))
        key = self._key(name)
        put = Transaction((Compare(key, Field.CREATE_REVISION, 0),), (Put(key, data),))
        for _ in range(_TRIES):
            try:
                if self._etcd.transact(put).succeeded:
                    return
            except Unknown:
                pass  # it is read back
            except EtcdError as error:
                raise CheckpointError(f"etcd: writing {name}: {error}") from error
            there = self._get(name)
            if there == data:
                return
            if there is not None:
                raise Taken(name, there)
        raise CheckpointError(f"etcd: writing {name}: no answer")

    def get(self, name: str) -> bytes:
        """An object.

        Raises:
            FileNotFoundError: when there is none.
            CheckpointError: when etcd does not answer.
        """
        found = self._get(name)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def names(self) -> list[str]:
        """The names of all objects."""
        listing = self._etcd.range(self._prefix)
        return [f"{FOLDER}/{each.key.removeprefix(self._prefix)}" for each in listing.entries]

    def delete(self, names: Iterable[str], guard: Compare) -> None:
        """Remove objects, as long as a condition holds."""
        for name in names:
            self._etcd.transact(Transaction((guard,), (Delete(self._key(name)),)))

    def _get(self, name: str) -> bytes | None:
        try:
            entry = self._etcd.get(self._key(name)).entry
        except EtcdError as error:
            raise CheckpointError(f"etcd: reading {name}: {error}") from error
        return None if entry is None else entry.value

    def _key(self, name: str) -> str:
        folder, _, rest = name.partition("/")
        assert folder == FOLDER, name
        return self._prefix + rest


class ShelvedFiles(Files):
    """The files of checkpoints, some of which are in etcd.

    Args:
        files: the others.
        shelf: where those are whose names begin with `etcd/`.
    """

    def __init__(self, files: Files, shelf: Shelf) -> None:
        self._files, self._shelf = files, shelf

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        return self._files.names(path)

    def size(self, path: str) -> int | None:
        """See `Files`."""
        if not is_shelved(path):
            return self._files.size(path)
        try:
            return len(self._shelf.get(path))
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Files`."""
        if not is_shelved(path):
            return self._files.read(path, offset, length)
        data = self._shelf.get(path)
        return data[offset:] if length is None else data[offset : offset + length]

    def read_into(self, path: str, offset: int, target: memoryview) -> int:
        """See `Files`."""
        return (
            super().read_into(path, offset, target)
            if is_shelved(path)
            else self._files.read_into(path, offset, target)
        )


def is_shelved(path: str) -> bool:
    """Whether an object is in etcd."""
    return path.startswith(f"{FOLDER}/")


def check_size(size: int) -> None:
    """Refuse state that is too large for etcd.

    It is no `PlanError`, as rows were read before, and no `CheckpointError`, after which the job would try again.

    Raises:
        StreameError: when it is.
    """
    if size > STATE_BYTES_MAX:
        raise StreameError(
            f'the tables with state="etcd" take {size:,} bytes, and a job may have {STATE_BYTES_MAX:,} in etcd; leave '
            'out state="etcd": state is then kept with the checkpoints, in any size'
        )


def check_total(packs: Iterable[StoredFile]) -> None:
    """Refuse a checkpoint that has too much in etcd.

    Args:
        packs: all files with states of a checkpoint.

    Raises:
        StreameError: when it has.
    """
    check_size(sum(pack.length for pack in packs if is_shelved(pack.path)))
