"""Newline-delimited JSON to frames: a whole block in one call, single lines only where it fails."""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from itertools import chain, takewhile
from operator import length_hint
from typing import cast

import msgspec
import numpy as np
import polars as pl

from streame.core.deadletters import BadRow
from streame.io.formats.columns import check_schema, is_from_text, is_nested, is_word
from streame.io.formats.decoder import Decoded
from streame.io.formats.records import (
    BLANK,
    BYTE_ORDER_MARK,
    ROW_BYTES_MAX,
    Fault,
    Records,
    decoded,
    encoding_fault,
    line_count,
    line_records,
    size_faults,
    type_fault,
    without,
)

_REFUSAL = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F])|\\.", re.DOTALL
)
_HALF_PAIR: Fault = ("encoding", "an escape names half a surrogate pair, which is no character")
_NOT_READABLE: Fault = ("syntax", "a number is out of range, or the nesting is deeper than 1,024 levels")
_NO_OBJECT: Fault = ("syntax", "the line is JSON but no object")

# A good block begins so; Polars would decompress one that begins like compressed data.
_OPENINGS = (b"{", b" ", b"\t", b"\r", b"\n", b"")

_BRACE = ord("{")
_SHORT = 256
_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode


class NdjsonDecoder:
    """Reads one JSON object per line.

    A missing key is null and an unknown one is ignored; of a key that occurs twice the first counts. A value
    has the JSON type of its dtype: a number for numbers (without fraction or exponent for integers), text for
    `String`, `Enum` and `Categorical`, ISO 8601 text for `Datetime`, `Date` and `Time`, text or a number for
    `Decimal` (a number goes through a 64-bit float). Inside lists and structs a number for a String is turned
    into text, as Polars does. Blank lines are skipped. More than 1,024 nested levels are refused.

    Args:
        schema: columns and dtypes.
        required: the columns that may not be null.

    Raises:
        PlanError: when a dtype cannot be read from JSON.
    """

    def __init__(self, schema: pl.Schema, required: Collection[str] = ()) -> None:
        check_schema(schema, required, nested=True, where="NDJSON")
        self._schema = schema
        self._required = frozenset(required)
        self._read_as = {name: _read_as(dtype) for name, dtype in schema.items()}
        self._words = [name for name, dtype in schema.items() if is_word(dtype)]
        self._doubtful = False  # a block behind one with bad lines is not tried as a whole first
        self._nested = any(is_nested(dtype) for dtype in schema.values())

    def complete(self, data: bytes) -> int:
        """How many bytes from the start of `data` make whole lines."""
        return data.rfind(b"\n") + 1

    def decode(self, block: bytes, start: int) -> Decoded:
        """The rows of a block of whole lines that begins at byte `start` of the split."""
        if start == 0 and block.startswith(BYTE_ORDER_MARK):
            block, start = block[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
        records = cache(lambda: line_records(block, start))
        read = None if self._doubtful else self._read_whole(block, records)
        if read is not None:
            return self._decoded(read, records, {}, [])
        rows = self._decode_lines(records())
        self._doubtful = bool(rows.rejected)
        return rows

    def _read_whole(self, block: bytes, records: Callable[[], Records]) -> pl.DataFrame | None:
        """The block in one call, or nothing if a line of it is bad."""
        if len(block) > ROW_BYTES_MAX and size_faults(records()):
            return None
        if block[:1] not in _OPENINGS or _has_half_pair(block):
            return None
        try:
            read = pl.read_ndjson(block, schema=self._read_as)
        except _REFUSAL:
            return None
        whole = read.height == line_count(block) or read.height == len(records())
        return read if whole else None

    def _decode_lines(self, records: Records) -> Decoded:
        """The rows of a block with bad lines: what is no JSON is taken out, the rest is read leniently."""
        refused: list[BadRow] = []
        records = without(size_faults(records), records, refused)
        records = without(_syntax_faults(records), records, refused)
        try:
            read = _read(records, self._read_as, ignore_errors=True)
        except _REFUSAL:
            refusing = _refusing(records, self._read_as, ignore_errors=True)
            records = without(dict.fromkeys(refusing, _NOT_READABLE), records, refused)
            read = _read(records, self._read_as, ignore_errors=True)
        faults = self._type_faults(read, records)
        if self._nested:
            # A lenient read leaves no trace of a value inside a list or a struct that did not fit.
            rows = np.setdiff1d(np.arange(len(records)), np.array(list(faults), np.int64))
            for row in _refusing(records.take(rows), self._read_as, ignore_errors=False):
                faults[int(rows[row])] = ("type", "a value inside a list or a struct does not fit its dtype")
        return self._decoded(read, lambda: records, faults, refused)

    def _type_faults(self, read: pl.DataFrame, records: Records) -> dict[int, Fault]:
        """The rows that a lenient read gave a null for a value of the wrong type."""
        typed = [
            name for name, dtype in self._read_as.items() if dtype != pl.String and read[name].null_count()
        ]
        if not typed:
            return {}
        rows = read.select(pl.any_horizontal(pl.col(typed).is_null()).arg_true()).to_series()
        texts = _read(records.take(rows.to_numpy()), dict.fromkeys(typed, pl.String()), ignore_errors=True)
        faults: dict[int, Fault] = {}
        for name in typed:
            wrong = read[name].gather(rows).is_null() & texts[name].is_not_null()
            for index in wrong.arg_true().to_list():
                row = rows[index]
                value = _shown(records[row], name, texts[name][index])
                faults.setdefault(row, type_fault(name, value, self._schema[name]))
        return faults

    def _word_faults(self, read: pl.DataFrame, records: Callable[[], Records]) -> dict[int, Fault]:
        """The rows that have a number, a boolean, a list or an object where text is wanted.

        Polars gives their JSON as text. Only rows whose text looks like such JSON are read again.
        """
        faults: dict[int, Fault] = {}
        for name in self._words:
            text = read[name]
            for looks_like, dtype in _possible_no_words(text):
                suspects = looks_like(text)
                if not suspects.any():
                    continue
                rows = suspects.arg_true().to_numpy()
                found = _read(records().take(rows), {name: dtype}, ignore_errors=True)[name]
                for row in rows[found.is_not_null().to_numpy()].tolist():
                    faults.setdefault(row, type_fault(name, text[row], self._schema[name]))
        return faults

    def _decoded(
        self,
        read: pl.DataFrame,
        records: Callable[[], Records],
        faults: dict[int, Fault],
        refused: list[BadRow],
    ) -> Decoded:
        faults |= self._word_faults(read, records)
        return decoded(
            read, records, faults, refused, schema=self._schema, required=self._required, shown=_shown
        )


def _has_half_pair(text: bytes) -> bool:
    """Whether an escape names half a surrogate pair, which Polars would read as a zero byte."""
    if b"\\" not in text or not _SURROGATE.search(text):
        return False
    return any(escape.lastgroup for escape in _ESCAPE.finditer(text))


def _read_as(dtype: pl.DataType) -> pl.DataType:
    """What Polars is to read: it panics on narrow integers and is eleven times slower at dates than at text."""
    if is_from_text(dtype):
        return pl.String()
    if isinstance(dtype, (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)):
        return pl.Int64()
    return pl.Float64() if dtype.is_float() else dtype


def _is_number(text: pl.Series) -> pl.Series:
    """Which texts could be a JSON number."""
    return (text >= "-") & (text < ":") & text.cast(pl.Float64, strict=False).is_not_null()


_Test = tuple[Callable[[pl.Series], pl.Series], pl.DataType]

_NUMBER_BEGINS = re.compile(r"-?\d*\.?\d*([eE][-+]?\d*)?")
_NO_WORDS: tuple[tuple[str, str, _Test], ...] = (
    ("-", ":", (_is_number, pl.Float64())),
    ("[", "\\", (lambda text: (text >= "[") & (text < "\\"), pl.List(pl.String()))),
    ("false", "false\0", (lambda text: text == "false", pl.Boolean())),
    ("true", "true\0", (lambda text: text == "true", pl.Boolean())),
    ("{", "|", (lambda text: (text >= "{") & (text < "|"), pl.Struct({"": pl.String()}))),
)
"""Between which texts the JSON of a value that is no text lies, and the exact test for it."""


def _possible_no_words(text: pl.Series) -> Iterator[_Test]:
    """The tests that some text of a column could pass, told by its smallest and its largest text alone.

    All texts begin as these two begin together, so a column of dates is known to hold no number.
    """
    lowest, highest = cast("str | None", text.min()), cast("str | None", text.max())
    if lowest is None or highest is None:
        return
    beginning = _common_beginning(lowest, highest)
    for first, end, test in _NO_WORDS:
        numbers = first == "-"
        if highest >= first and lowest < end and not (numbers and not _NUMBER_BEGINS.fullmatch(beginning)):
            yield test


def _common_beginning(one: str, other: str) -> str:
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in equal)


def _read(records: Records, schema: Mapping[str, pl.DataType], *, ignore_errors: bool) -> pl.DataFrame:
    frame = pl.read_ndjson(records.joined(), schema=dict(schema), ignore_errors=ignore_errors)
    assert frame.height == len(records), (frame.height, len(records))
    return frame


def _refusing(records: Records, schema: Mapping[str, pl.DataType], *, ignore_errors: bool) -> list[int]:
    """The lines that Polars refuses, found by halving."""
    found: list[int] = []
    ranges = [(0, len(records))]
    while ranges:
        first, end = ranges.pop()
        try:
            _read(records.take(slice(first, end)), schema, ignore_errors=ignore_errors)
        except _REFUSAL:
            if end - first == 1:
                found.append(first)
            else:
                middle = (first + end) // 2
                ranges += [(first, middle), (middle, end)]
    return found


def _syntax_faults(records: Records) -> dict[int, Fault]:
    lines = records.texts()
    faults: dict[int, Fault] = {}
    if encoding_fault(records.block) is not None:
        faults = {row: fault for row, line in enumerate(lines) if (fault := encoding_fault(line))}
    for row in chain(np.flatnonzero(records.first_bytes() != _BRACE).tolist(), _malformed(lines)):
        fault = _syntax_fault(lines[row])
        if fault is not None:
            faults.setdefault(row, fault)
    return faults


def _malformed(lines: list[bytes]) -> Iterator[int]:
    """The numbers of the lines at which msgspec stumbles: the one look at every line, in a loop without Python."""
    left = iter(lines)
    while True:
        try:
            deque(map(_check_syntax, left), maxlen=0)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield len(lines) - length_hint(left) - 1
        else:
            return


def _syntax_fault(line: bytes) -> Fault | None:
    if _may_be_deep(line):
        if _has_half_pair(line):
            return _HALF_PAIR
    else:
        try:
            _check_syntax(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _HALF_PAIR if _has_half_pair(line) else ("syntax", str(error))
    return None if line.lstrip(BLANK)[:1] == b"{" else _NO_OBJECT


def _may_be_deep(line: bytes) -> bool:
    """Whether to leave a line to Polars, which refuses it where its nesting is too deep.

    msgspec raises RecursionError at a depth that depends on the caller's stack.
    """
    return len(line) > _SHORT and line.count(b"[") + line.count(b"{") > _SHORT


def _shown(line: bytes, column: str, text: str) -> str:
    """A value as it stands in the line; its text if that cannot be told."""
    if _may_be_deep(line):
        return text
    try:
        return msgspec.json.encode(msgspec.json.decode(line)[column]).decode()
    except (msgspec.MsgspecError, KeyError):
        return text
