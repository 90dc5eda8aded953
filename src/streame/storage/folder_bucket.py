"""A bucket in a folder that several machines may share: each object is a file, which has its name only when it is whole."""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from streame.core.full_disk import is_full_disk
from streame.errors import CheckpointError
from streame.storage.bucket import Bucket, NoAnswer, Occupied
from streame.storage.disk import Disk, LocalDisk

LEFTOVER_SECONDS = 3600.0

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
_PLACE = ".place"
_ATTEMPTS = 5
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_HOPELESS = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EFBIG,
)  # fmt: skip


class FolderBucket(Bucket):
    """Objects as files below a folder; nothing is locked.

    A file is written under a temporary name beside its own, synced, and linked to its name, which fails if something has
    that. Temporary names begin with a dot, and in the name of an object no part does. Folders that have become empty
    are removed, but for those right below the root.

    What a call shows lasts from then on, whoever made it: folders are synced before their objects are told of. A network
    file system has to show at once what other machines do: NFS is mounted with `noac`.

    The root is made by `open` and by nothing else. From then on the bucket knows it by a file in it, and does not take
    another folder for it: that of a mount which is gone, or one that was made anew. Until it is back there is no answer.

    A full disk is the one `OSError` that is raised as it is; nothing was made then.

    Args:
        folder: the root.
        disk: the same folder, for what decides about its content.
    """

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.where = str(folder)
        self._root = folder
        self._disk = disk or LocalDisk(folder)
        self._lasting: set[str] = set()
        self._token: bytes | None = None

    def open(self) -> None:
        """Make the root if it is not there, and know it again from here on.

        Raises:
            CheckpointError: when there cannot be such a folder.
            NoAnswer: when nobody knows.
        """
        with self._explained("opening the folder"):
            try:
                self._disk.make_directory("")
            except OSError as error:
                if self._root.exists():  # something else is in its place
                    raise
                raise CheckpointError(
                    f"{self.where}: this folder of checkpoints cannot be made: {error.strerror} ({error.filename}); make "
                    "it, so that every node can read and write there, or give another one"
                ) from error
            self._token = self._agreed_token()

    def create(self, name: str, data: bytes) -> None:
        """See `Bucket`."""
        self._require_name(name)
        with self._explained(f"writing {name}"):
            self._require_place()
            for _ in range(_ATTEMPTS):
                # Its folder was empty and has gone, or the temporary file was taken for a leftover.
                with suppress(FileNotFoundError):
                    self._create(name, data)
                    return
        raise NoAnswer(f"writing {name}: its folder is removed again and again")

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Bucket`."""
        self._require_name(name)
        with self._explained(f"reading {name}"):
            try:
                data = self._disk.read(name, offset, length)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_place()
                raise FileNotFoundError(name) from None
            self._make_last({_folder(name)})
            return data

    def size(self, name: str) -> int | None:
        """See `Bucket`."""
        self._require_name(name)
        with self._explained(f"looking at {name}"):
            try:
                found = (self._root / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                self._require_place()
                return None
            if not stat.S_ISREG(found.st_mode):
                return None
            self._make_last({_folder(name)})
            return found.st_size

    def names(self, folder: str) -> list[str]:
        """See `Bucket`."""
        if folder:
            self._require_name(folder)
        with self._explained(f"listing {folder}/"):
            found = sorted(name for name in self._walk(folder) if not _last_part(name).startswith("."))
            if not found:
                self._require_place()
            self._make_last({_folder(name) for name in found})
            return found

    def remove(self, names: Iterable[str]) -> None:
        """See `Bucket`."""
        known = list(names)
        for name in known:
            self._require_name(name)
        folders = {_folder(name) for name in known}
        with self._explained(f"removing {known[0] if known else 'nothing'}"):
            self._require_place()
            for name in known:
                with suppress(NotADirectoryError, IsADirectoryError):
                    self._disk.remove(name)
            for folder in folders:
                self._sync(folder)
            self._prune(folders)

    def clear_leftovers(self, age_s: float = LEFTOVER_SECONDS) -> int:
        """Remove the temporary files of processes that have died.

        Their age is told by the clock of the file system, which also dates what is written now. Whoever was only paused
        loses nothing: it finds its file gone, and writes another.

        Args:
            age_s: so old, in seconds, is a file that nobody writes any more.

        Returns:
            How many there were.

        Raises:
            NoAnswer: when nobody knows whether all are gone.
        """
        with self._explained("removing what dead processes have left"):
            probe = _temporary("")
            try:
                self._disk.write(probe, [b""])
                now = (self._root / probe).stat().st_mtime
            finally:
                self._disk.remove(probe)
            old = [name for name in self._walk("") if self._is_leftover(name, now - age_s)]
            for name in old:
                self._disk.remove(name)
            self._prune({_folder(name) for name in old})
            return len(old)

    def _create(self, name: str, data: bytes) -> None:
        folder = _folder(name)
        temporary = _temporary(folder)
        if folder:
            self._disk.make_directory(folder)
        try:
            self._disk.write(temporary, [data])
            self._disk.sync(temporary)
            # With a file in it the folder stays; before, somebody could have removed it and made it anew.
            for above in self._above(folder):
                self._sync(above)
            self._link(temporary, name)
        finally:
            with suppress(OSError):  # it is a leftover then
                self._disk.remove(temporary)
        self._sync(folder)

    def _agreed_token(self) -> bytes:
        """What the file says by which the root is known: whoever came first has said so for all."""
        if self._disk.size(_PLACE) is None:
            temporary = _temporary("")
            try:
                self._disk.write(temporary, [token_hex(16).encode()])
                self._disk.sync(temporary)
                with suppress(Occupied):
                    self._link(temporary, _PLACE)
            finally:
                self._disk.remove(temporary)
        self._sync("")
        return self._disk.read(_PLACE)

    def _require_place(self) -> None:
        """Refuse a folder that is not the one that was opened."""
        if self._token is None:
            return
        try:
            there = self._disk.read(_PLACE)
        except (FileNotFoundError, NotADirectoryError):
            there = b""
        if there != self._token:
            raise NoAnswer(
                f"{self.where}: the folder that was there is gone, or another one is in its place (its file {_PLACE} is "
                f"{'another one' if there else 'missing'}); it is not made anew: mount it again or put it back"
            )

    def _link(self, temporary: str, name: str) -> None:
        try:
            self._disk.link(temporary, name)
        except FileExistsError:
            if (self._root / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
            raise Occupied(name) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise CheckpointError(
                f"{self.where}: this file system cannot give a file a second name ({error.strerror}), which objects need to "
                "appear whole and only once; use a folder of another one"
            ) from error

    def _make_last(self, folders: set[str]) -> None:
        """Make the names in some folders last, and the folders themselves."""
        for each in folders.union(*map(self._above, folders)):
            self._sync(each)

    def _above(self, folder: str) -> list[str]:
        """The folders in which names must last for a folder to do so. One right below the root is never removed."""
        parts = folder.split("/") if folder else []
        above = ["/".join(parts[:count]) for count in range(len(parts))]
        return above[1:] if parts and parts[0] in self._lasting else above

    def _sync(self, folder: str) -> None:
        """Make the names in a folder last, unless it has gone."""
        try:
            tops = set(self._disk.names("")) if not folder else set()
            self._disk.sync_directory(folder)
            self._lasting |= tops
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise CheckpointError(
                f"{self.where}: {folder or 'the folder'} could not be brought to the disk ({error}); nobody knows what is on "
                "it, so the job must stop. Check the disk and start the job again: it goes on from the last checkpoint"
            ) from None  # it must not look like a full disk, after which one tries again

    def _walk(self, folder: str) -> Iterator[str]:
        """The paths of all files below a folder."""
        try:
            with os.scandir(self._root / folder) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):  # as file systems show their snapshots
                    yield from self._walk(path)
            elif entry.is_file(follow_symlinks=False):
                yield path

    def _is_leftover(self, path: str, before: float) -> bool:
        try:
            return bool(_TEMPORARY.fullmatch(_last_part(path))) and (
                (self._root / path).stat().st_mtime <= before
            )
        except FileNotFoundError:
            return False

    def _prune(self, folders: Iterable[str]) -> None:
        """Remove folders, and those above them, if they have become empty."""
        for folder in folders:
            parts = folder.split("/")
            for count in range(len(parts), 1, -1):
                with suppress(NotADirectoryError):
                    self._disk.remove_empty_directory("/".join(parts[:count]))

    def _require_name(self, name: str) -> None:
        if "\0" in name or any(not part or part.startswith(".") for part in name.split("/")):
            raise CheckpointError(
                f"{self.where}: {name!r} is no name of an object: in a folder no part of it may be empty or begin with a "
                "dot; what names it is damaged, or comes from elsewhere"
            )

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Errors in the words of `Bucket`."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            said = f"{self.where}: {doing}: {error.strerror or error}"
            if is_full_disk(error):
                raise
            if error.errno in _REFUSED:
                raise CheckpointError(
                    f"{said}; every node needs to read, write, link and remove files in this folder: check its owner, its "
                    "mode and how it is mounted"
                ) from error
            if error.errno in _HOPELESS:
                raise CheckpointError(
                    f"{said}; something that is not of Streame may be in its place: look there, or use another folder"
                ) from error
            raise NoAnswer(said) from error


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _temporary(folder: str) -> str:
    """A name that no other file has, had or will have."""
    return f"{folder}/.{token_hex(16)}.tmp" if folder else f".{token_hex(16)}.tmp"


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
