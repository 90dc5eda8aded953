"""What must hold in a simulated cluster at every moment, looked at whenever something lasting changes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import msgspec

from streame.cluster.etcd.interface import Event
from streame.cluster.view import AttemptEntry, Keys, LeaderEntry, Outcome, Pointer
from streame.state.checkpoint.manifest import Manifest, decode_manifest
from streame.testing.simulation.bucket import Objects
from streame.testing.simulation.ends import Feed, Row, Table
from streame.testing.simulation.scheduler import scheduler

Offsets = Mapping[str, Mapping[str, int]]
"""For each source and split, how many rows were read."""


class Violation(Exception):  # noqa: N818 - what happened
    """Something that must never happen."""


class Expectation(Protocol):
    """What a job must publish."""

    def check(self, sink: str, rows: Sequence[Row], new: Sequence[Row], offsets: Offsets) -> str | None:
        """What is wrong with the rows that are visible, `new` being the last of them; `None` if nothing is.

        Args:
            sink: where.
            rows: all that is visible.
            new: what has become so now.
            offsets: what the checkpoint has read to which they belong.
        """

    def check_end(self, sink: str, rows: Sequence[Row]) -> str | None:
        """What is wrong with the rows when the job has ended."""


@dataclass
class Decided:
    """A checkpoint that was decided."""

    pointer: Pointer
    manifest: Manifest
    offsets: Offsets


@dataclass
class Oracle:
    """Sees what lasts, and says when it is wrong.

    Args:
        keys: those of the job in etcd.
        feeds: what its sources give, by name.
        expected: what it must publish.
    """

    keys: Keys
    feeds: Mapping[str, Feed]
    expected: Expectation
    counts: Counter[str] = field(default_factory=Counter)
    decided: dict[int, Decided] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    objects: Objects | None = None
    violation: Violation | None = None
    outcome: Outcome | None = None
    last: int = 0

    def note(self, what: str) -> None:
        """Write down that something has happened."""
        self.lines.append(f"{scheduler().now:9.4f} {what}")

    def digest(self) -> str:
        """Of all that has happened."""
        return blake2b("\n".join(self.lines).encode(), digest_size=12).hexdigest()

    def count(self, what: str) -> None:
        """Something rare has happened."""
        self.counts[what] += 1

    def wrong(self, what: str) -> None:
        """Something has happened that must not."""
        self.note(f"WRONG {what}")
        if self.violation is None:
            self.violation = Violation(what)
            scheduler().error = self.violation

    def changed(self, events: Sequence[Event]) -> None:
        """Etcd has changed."""
        for event in events:
            name = event.key.removeprefix(self.keys.prefix)
            if event.entry is None:
                self.note(f"etcd: {name} is gone")
            elif event.key == self.keys.pointer:
                self._decide(msgspec.json.decode(event.entry.value, type=Pointer))
            elif event.key == self.keys.leader:
                leader = msgspec.json.decode(event.entry.value, type=LeaderEntry)
                self.count("election")
                self.note(f"{leader.member.name} leads in epoch {event.mod_revision}")
            elif event.key == self.keys.attempt:
                self._attempt(msgspec.json.decode(event.entry.value, type=AttemptEntry))
            elif event.key == self.keys.outcome:
                self.outcome = msgspec.json.decode(event.entry.value, type=Outcome)
                self.note(f"the job has {self.outcome.state}: {self.outcome.error}")
            else:
                self.note(f"etcd: {name}")

    def acknowledged(self, source: str, split: str, offset: int) -> None:
        """A source may forget what comes before an offset."""
        known = self.decided[self.last].offsets.get(source, {}).get(split, 0) if self.last else 0
        if offset > known:
            self.wrong(f"{source}, {split}: acknowledged up to {offset}, but only {known} is decided")
        feed = self.feeds[source].splits[split]
        feed.kept_from = max(feed.kept_from, offset)

    def published(self, sink: str, checkpoint: int, rows: Sequence[Row], *, by: str) -> None:
        """Rows have become visible."""
        self.note(f"{sink}: checkpoint {checkpoint} shows {len(rows)} rows, by {by}")
        found = self.decided.get(checkpoint)
        if found is None:
            self.wrong(f"{sink}: checkpoint {checkpoint} is published and not decided")
            return
        why = self.expected.check(sink, self.tables[sink].rows, rows, found.offsets)
        if why is not None:
            self.wrong(f"{sink}: with checkpoint {checkpoint}: {why}")

    def removed(self, name: str) -> None:
        """An object is gone from the store, or has become another one."""
        if not self.last:
            return
        for found in (self.decided[self.last], *map(self._kept, self.decided[self.last].pointer.before)):
            if name in needed(found):
                self.wrong(f"{name} is gone, which checkpoint {found.pointer.number} needs")

    def finish(self) -> None:
        """The job has ended: nothing may be missing."""
        for name, table in self.tables.items():
            if (why := self.expected.check_end(name, table.rows)) is not None:
                self.wrong(f"{name}: at the end: {why}")
        offsets = self.decided[self.last].offsets if self.last else {}
        for name, feed in self.feeds.items():
            for split, found in feed.splits.items():
                if (read := offsets.get(name, {}).get(split, 0)) != len(found.rows):
                    self.wrong(f"{name}, {split}: {read} of {len(found.rows)} rows were read at the end")

    def _kept(self, pointer: Pointer) -> Decided:
        return self.decided[pointer.number]

    def _attempt(self, entry: AttemptEntry) -> None:
        names = [member.name for member in entry.members]
        self.note(f"attempt {entry.attempt} of {', '.join(names)}, {entry.slots}")
        self.count("attempt")
        if entry.attempt.number > 3:
            self.count("attempt number above 3")
        found = self.decided.get(self.last)
        if (entry.start is None) != (found is None) or (
            entry.start and found and entry.start.path != found.pointer.path
        ):
            self.count("attempt with an old beginning")

    def _decide(self, pointer: Pointer) -> None:
        self.note(f"checkpoint {pointer.number} of attempt {pointer.attempt} is decided")
        self.count("checkpoint")
        assert self.objects is not None
        if pointer.number != self.last + 1:
            self.wrong(f"checkpoint {pointer.number} is decided behind {self.last}")
        before = self.decided.get(self.last)
        content = self.objects.content.get(pointer.path)
        if content is None or len(content) != pointer.size:
            self.wrong(f"checkpoint {pointer.number} is decided without its manifest")
            return
        manifest = decode_manifest(content, pointer.number, self.keys.job)
        if not isinstance(manifest, Manifest):
            self.wrong(f"checkpoint {pointer.number} cannot be read: {manifest}")
            return
        found = Decided(pointer, manifest, self._offsets(manifest))
        for name in sorted(needed(found)):
            if name not in self.objects.content:
                self.wrong(f"checkpoint {pointer.number} is decided, but {name} is not there")
        if before is not None:
            self._check_follows(before, found)
        self.last = pointer.number
        self.decided[pointer.number] = found

    def _check_follows(self, before: Decided, found: Decided) -> None:
        """The checkpoint before is published, and nothing is read again."""
        for output in before.manifest.history:
            for sink, staged in output.staged.items():
                if staged.pieces and output.checkpoint > self._table(sink).marker:
                    self.wrong(
                        f"checkpoint {found.pointer.number} is decided before {output.checkpoint} is published"
                    )
        for source, splits in before.offsets.items():
            for split, offset in splits.items():
                if found.offsets.get(source, {}).get(split, 0) < offset:
                    self.wrong(
                        f"checkpoint {found.pointer.number} goes back behind {offset} in {source}, {split}"
                    )

    def _table(self, sink: str) -> Table:
        return next(table for name, table in self.tables.items() if sink.endswith(name))

    def _offsets(self, manifest: Manifest) -> Offsets:
        offsets: dict[str, dict[str, int]] = {}
        for source, position in manifest.sources.items():
            splits = position["splits"]
            name = next(each for each in self.feeds if source.endswith(each))
            read = {split: len(self.feeds[name].splits[split].rows) for split in splits["read"]}
            offsets[name] = {**splits["offsets"], **read}
        return offsets


def needed(found: Decided) -> set[str]:
    """The objects that a checkpoint needs."""
    names = {found.pointer.path, *(file.path for file in found.manifest.files)}
    for output in found.manifest.history:
        names.update(output.paths)
    return names
