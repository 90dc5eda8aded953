"""Manifests: bytes and back, and every flipped byte is noticed."""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streame.core.staging import Staged
from streame.state.checkpoint.manifest import (
    Chunk,
    Foreign,
    Manifest,
    Output,
    SavedLeaf,
    SavedState,
    StoredFile,
    decode_manifest,
    encode_manifest,
)
from streame.state.checkpoint.sealed import FORMAT_VERSION, Broken, Newer, seal, unseal

PACK = StoredFile("state/7/0.1.pack", 120, "ab" * 16)
OLD = StoredFile("state/3/0.1.pack", 900, "cd" * 16)
TREE: Any = {
    "b": [1, -0.0, None, True, "é\ud800", 2**100],
    "a": {"$leaf": 0},
    "infinite": math.inf,
    "bytes": {"$bytes": "00ff"},
}

MANIFEST = Manifest(
    job="orders",
    number=7,
    attempt=2,
    plan={"operators": [{"name": "count"}]},
    settings={"parallelism": 2},
    operators={
        "count": (
            SavedState(TREE, (SavedLeaf("/a", "array", "<i8", (3, 2), (Chunk(PACK.path, 15, 48, "ef" * 16),)),)),
            SavedState(None, ()),
        ),
        "join": (
            SavedState(
                [],
                (
                    SavedLeaf(
                        "/rows", "frame", "", (70_000, 1),
                        (Chunk(OLD.path, 15, 100, "01" * 16), Chunk(PACK.path, 63, 57, "23" * 16)),
                    ),
                    SavedLeaf("/none", "array", "|b1", (0,), ()),
                ),
            ),
        ),
    },
    sources={"orders": {"part-0": 17}},
    history=(
        Output(6, {"files": Staged((), None)}),
        Output(7, {"files": Staged(({"name": "part-7"},), {"rows": 5})}, acknowledges=True, at_us=1_700_000_000_000_000),
    ),
    packs=(OLD, PACK),
    staged=(StoredFile("out/7/files.0.out", 5, "45" * 16),),
)  # fmt: skip


def test_a_manifest_comes_back_as_it_was() -> None:
    data = encode_manifest(MANIFEST)
    assert decode_manifest(data, 7, "orders") == MANIFEST
    assert decode_manifest(data, 7, None) == MANIFEST
    assert data == encode_manifest(MANIFEST)
    assert list(json.loads(data.split(b"\n", 1)[1].rpartition(b"|")[0])["operators"]["count"][0][0]) == list(
        TREE
    )
    assert MANIFEST.files == (OLD, PACK, *MANIFEST.staged)
    assert MANIFEST.output.shows
    assert not MANIFEST.history[0].shows


def test_every_flipped_bit_of_a_manifest_is_noticed() -> None:
    data = encode_manifest(MANIFEST)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            assert isinstance(decode_manifest(bytes(flipped), 7, "orders"), Broken), (place, bit)


def test_a_manifest_that_is_cut_off_or_followed_by_more_is_noticed() -> None:
    data = encode_manifest(MANIFEST)
    for length in range(len(data)):
        assert isinstance(decode_manifest(data[:length], 7, "orders"), Broken), length
    assert isinstance(decode_manifest(data + b"\n", 7, "orders"), Broken)
    assert isinstance(decode_manifest(bytes(len(data)), 7, "orders"), Broken)


def test_a_manifest_of_another_job_or_under_another_name_is_told() -> None:
    data = encode_manifest(MANIFEST)
    assert decode_manifest(data, 7, "other") == Foreign("orders")
    assert decode_manifest(data, 8, "orders") == Broken("it is the manifest of checkpoint 7")
    other = replace(MANIFEST, history=MANIFEST.history[:1])
    assert decode_manifest(encode_manifest(other), 7, "orders") == Broken(
        "it is the manifest of checkpoint 7"
    )


def sealed_by_hand(line: bytes, body: bytes) -> bytes:
    data = line + body
    return data + f"|{zlib.crc32(data):08x}{blake2b(data, digest_size=32).hexdigest()}".encode()


def test_a_newer_format_is_told_from_damage() -> None:
    newer = sealed_by_hand(f"streame checkpoint {FORMAT_VERSION + 1}\n".encode(), b"whatever")
    assert decode_manifest(newer, 7, "orders") == Newer(FORMAT_VERSION + 1)
    assert isinstance(decode_manifest(newer[:-1], 7, "orders"), Broken)


@pytest.mark.parametrize(
    "line", [b"streame checkpoint x\n", b"streame other 1\n", b"streame checkpoint 01\n", b"streame\n", b""]
)
def test_a_first_line_that_is_none_is_damage(line: bytes) -> None:
    assert isinstance(unseal("checkpoint", sealed_by_hand(line, b"{}")), Broken)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"job": 1}', b"null", b"\xff"])
def test_a_sealed_body_that_is_no_manifest_is_damage(body: bytes) -> None:
    found = decode_manifest(seal("checkpoint", body), 7, "orders")
    assert isinstance(found, Broken)
    assert found.why.startswith("its body cannot be understood")


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    assert isinstance(decode_manifest(data, 7, "orders"), Broken)
    assert isinstance(decode_manifest(seal("checkpoint", data), 7, "orders"), Broken)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.dictionaries(st.text(), json_values, max_size=3))
def test_any_plain_values_come_back(value: Any, settings: Mapping[str, Any]) -> None:
    changed = replace(MANIFEST, plan=value, sources=value, settings=settings)
    assert decode_manifest(encode_manifest(changed), 7, "orders") == changed


def test_nan_comes_back() -> None:
    changed = replace(MANIFEST, sources=[math.nan])
    found = decode_manifest(encode_manifest(changed), 7, "orders")
    assert isinstance(found, Manifest)
    assert math.isnan(found.sources[0])


def test_a_manifest_of_before_does_not_say_when_it_was_made() -> None:
    body = json.loads(encode_manifest(MANIFEST).split(b"\n", 1)[1].rpartition(b"|")[0])
    del body["times"]
    found = decode_manifest(seal("checkpoint", json.dumps(body).encode()), 7, "orders")
    assert isinstance(found, Manifest)
    assert [output.at_us for output in found.history] == [0, 0]
    assert found == replace(MANIFEST, history=tuple(replace(each, at_us=0) for each in MANIFEST.history))
