"""XXH3 of eight bytes, for whole arrays at once: what `xxhash` computes, without a Python call for each row."""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_FLIP = np.uint64(0x1CAD21F72C81017C ^ 0xDB979083E96DD4DE)
"""Two words of XXH3's secret."""
_PRIME = np.uint64(0x9FB21C651E98DF25)
_LOW = np.uint64(0xFFFFFFFF)
_LENGTH = np.uint64(8)


def xxh3_of_words(words: Words, seeds: Words) -> Words:
    """The 64-bit hash of each word as eight little-endian bytes.

    Args:
        words: what is hashed.
        seeds: the seed of each.
    """
    seeds = seeds ^ ((seeds & _LOW).astype(np.uint32).byteswap().astype(np.uint64) << np.uint64(32))
    mixed = _rotated(words, 32) ^ (_FLIP - seeds)
    mixed ^= _rotated(mixed, 49) ^ _rotated(mixed, 24)
    mixed *= _PRIME
    mixed ^= (mixed >> np.uint64(35)) + _LENGTH
    mixed *= _PRIME
    mixed ^= mixed >> np.uint64(28)
    return mixed


def _rotated(words: Words, bits: int) -> Words:
    """Each word with its bits moved up, those at the top to the bottom."""
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
