"""Manifests: what a checkpoint consists of, and the bytes that say so."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any

from streame.core.staging import Json, Staged
from streame.state.checkpoint.leaves import Kind
from streame.state.checkpoint.sealed import Broken, Newer, seal, unseal
from streame.state.checkpoint.store import stored_pieces
from streame.state.snapshot import Tree

_SEALED_AS = "checkpoint"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a checkpoint.

    Args:
        path: where it is.
        length: how many bytes it has.
        digest: their xxh3_128 as hexadecimal digits.
    """

    path: str
    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where the bytes of a part of a leaf are.

    Args:
        pack: the path of the pack.
        offset: where they begin in it.
        length: how many.
        digest: their xxh3_128 as hexadecimal digits.
    """

    pack: str
    offset: int
    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class SavedLeaf:
    """A large part of a state.

    Args:
        path: where it is in the tree.
        kind: what it is.
        dtype: that of an array.
        shape: its rows and other dimensions.
        chunks: its bytes.
    """

    path: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class SavedState:
    """The state of one instance of an operator.

    Args:
        tree: its plain values.
        leaves: its large parts, by their number in the tree.
    """

    tree: Tree
    leaves: tuple[SavedLeaf, ...]


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of one instance of an operator that another process has written.

    Args:
        state: where it is.
        packs: the files to which it refers.
    """

    state: SavedState
    packs: tuple[StoredFile, ...]


@dataclass(frozen=True)  # no slots: what is derived of it is kept, as it stands in many manifests
class Output:
    """What a checkpoint lets out once it is decided.

    Args:
        checkpoint: its number.
        staged: the output of each sink.
        acknowledges: whether sources are told that they need not keep what came before it.
        at_us: when it was made: microseconds since 1970 in UTC; 0 if that is not known.
    """

    checkpoint: int
    staged: Mapping[str, Staged]
    acknowledges: bool = False
    at_us: int = 0

    @property
    def shows(self) -> bool:
        """Whether the world can see that the checkpoint was decided."""
        return self.acknowledges or any(staged.pieces for staged in self.staged.values())

    @cached_property
    def encoded(self) -> bytes:
        """How it stands in a manifest."""
        staged = {name: [list(each.pieces), each.note] for name, each in self.staged.items()}
        return json_bytes([self.checkpoint, self.acknowledges, staged])

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files of outboxes that it refers to."""
        pieces = chain.from_iterable(stored_pieces(staged.pieces) for staged in self.staged.values())
        return tuple(piece["$file"] for piece in pieces)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a checkpoint.

    Args:
        job: the name of the job.
        number: of the checkpoint.
        attempt: which try it was to write it.
        plan: what the job was, as a JSON value.
        settings: what else must be known to go on, such as the parallelism and versions.
        operators: the state of every instance of every operator.
        sources: where the sources are to go on.
        history: the output of this checkpoint, and before it that of the ones right before it.
        packs: the files with the chunks.
        staged: the files with staged output of this checkpoint.
    """

    job: str
    number: int
    attempt: int
    plan: Json
    settings: Mapping[str, Json]
    operators: Mapping[str, tuple[SavedState, ...]]
    sources: Json
    history: tuple[Output, ...]
    packs: tuple[StoredFile, ...]
    staged: tuple[StoredFile, ...]

    @property
    def output(self) -> Output:
        """What this checkpoint lets out."""
        return self.history[-1]

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Every file that must be there for the job to go on from it."""
        return self.packs + self.staged


@dataclass(frozen=True, slots=True)
class Foreign:
    """A manifest of another job.

    Args:
        job: the name of that job.
    """

    job: str


def chunks_of(operators: Mapping[str, Sequence[SavedState]]) -> Iterator[Chunk]:
    """All chunks of some states, in order."""
    for states in operators.values():
        for state in states:
            for leaf in state.leaves:
                yield from leaf.chunks


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest."""
    packs = {pack.path: number for number, pack in enumerate(manifest.packs)}
    body = {
        "job": manifest.job,
        "number": manifest.number,
        "attempt": manifest.attempt,
        "plan": manifest.plan,
        "settings": dict(manifest.settings),
        "sources": manifest.sources,
        "times": [output.at_us for output in manifest.history],
        "packs": [_file_json(file) for file in manifest.packs],
        "staged": [_file_json(file) for file in manifest.staged],
        "chunks": [
            [packs[chunk.pack], chunk.offset, chunk.length, chunk.digest]
            for chunk in chunks_of(manifest.operators)
        ],
        "operators": {
            name: [
                [
                    state.tree,
                    [
                        [leaf.path, leaf.kind, leaf.dtype, list(leaf.shape), len(leaf.chunks)]
                        for leaf in state.leaves
                    ],
                ]
                for state in states
            ]
            for name, states in manifest.operators.items()
        },
    }
    history = b",".join(output.encoded for output in manifest.history)
    return seal(_SEALED_AS, b'%b,"history":[%b]}' % (json_bytes(body)[:-1], history))


def decode_manifest(data: bytes, number: int, job: str | None) -> Manifest | Newer | Foreign | Broken:
    """A manifest of its bytes.

    Args:
        data: all bytes of the file.
        number: of the checkpoint, as the name of the file has it.
        job: the name of the job that asks; `None` for whoever only looks.
    """
    body = unseal(_SEALED_AS, data)
    if not isinstance(body, bytes):
        return body
    try:
        manifest = _manifest(json.loads(body))
    except (ValueError, TypeError, LookupError) as error:
        return Broken(f"its body cannot be understood ({type(error).__name__}: {error})")
    if manifest.number != number or manifest.output.checkpoint != number:
        return Broken(f"it is the manifest of checkpoint {manifest.number}")
    if job is not None and manifest.job != job:
        return Foreign(manifest.job)
    return manifest


def json_bytes(value: Json) -> bytes:
    """A JSON value, always as the same bytes.

    The order of keys is kept: state may depend on it. So are NaN and infinity, and integers of any size.
    """
    return json.dumps(value, separators=(",", ":"), check_circular=False).encode()


def _file_json(file: StoredFile) -> Json:
    return [file.path, file.length, file.digest]


def _manifest(body: dict[str, Any]) -> Manifest:
    packs = tuple(StoredFile(*file) for file in body["packs"])
    times = body.get("times") or [0] * len(body["history"])  # manifests of before do not say it
    chunks = iter([Chunk(packs[pack].path, *rest) for pack, *rest in body["chunks"]])
    return Manifest(
        body["job"],
        body["number"],
        body["attempt"],
        body["plan"],
        body["settings"],
        {
            name: tuple(SavedState(tree, _leaves(leaves, chunks)) for tree, leaves in states)
            for name, states in body["operators"].items()
        },
        body["sources"],
        tuple(
            Output(
                number,
                {name: Staged(tuple(pieces), note) for name, (pieces, note) in staged.items()},
                acknowledges,
                at_us,
            )
            for (number, acknowledges, staged), at_us in zip(body["history"], times, strict=True)
        ),
        packs,
        tuple(StoredFile(*file) for file in body["staged"]),
    )


def _leaves(leaves: Iterable[Any], chunks: Iterator[Chunk]) -> tuple[SavedLeaf, ...]:
    return tuple(
        SavedLeaf(path, kind, dtype, tuple(shape), tuple(islice(chunks, count)))
        for path, kind, dtype, shape, count in leaves
    )
