"""A bit of a file that is not what was written."""

from pathlib import Path

import numpy as np


def flip_a_bit(folder: Path, random: np.random.Generator) -> str:
    """Flip one bit of one file below a folder.

    Args:
        folder: the checkpoints of a job that does not run.
        random: chooses the file and the bit.

    Returns:
        Which one, in words; nothing if there is no file with any byte.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    if not files:
        return ""
    # A kind of file as often as another: packs are many, and manifests few.
    kinds = sorted({_kind(path, folder) for path in files})
    kind = kinds[int(random.integers(len(kinds)))]
    chosen = [path for path in files if _kind(path, folder) == kind]
    path = chosen[int(random.integers(len(chosen)))]
    content = bytearray(path.read_bytes())
    place, bit = int(random.integers(len(content))), int(random.integers(8))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place:,} of {len(content):,} of {path.relative_to(folder)} was flipped"


def _kind(path: Path, folder: Path) -> str:
    relative = path.relative_to(folder)
    return f"{relative.parts[0]} unfinished" if path.suffix == ".tmp" else relative.parts[0]
