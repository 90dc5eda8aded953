"""A bit of a file that is not what was written."""

from pathlib import Path

import numpy as np

from streame.io.commit_log import PRIVATE


def flip_a_bit(folder: Path, checkpoints: str, random: np.random.Generator) -> str:
    """Flip one bit of one file that a job needs to go on.

    Args:
        folder: of a job that does not run.
        checkpoints: the folder of its checkpoints therein; staged output lies in folders of the sinks too.
        random: chooses the file and the bit.

    Returns:
        Which one, in words; nothing if there is no file with any byte.
    """
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if (parts[0] == checkpoints or PRIVATE in parts[:2]) and path.is_file() and path.stat().st_size:
            kinds.setdefault(_kind(parts, checkpoints), []).append(path)
    if not kinds:
        return ""
    # A kind of file as often as another: packs are many, and manifests few.
    chosen = kinds[sorted(kinds)[int(random.integers(len(kinds)))]]
    path = chosen[int(random.integers(len(chosen)))]
    content = bytearray(path.read_bytes())
    place, bit = int(random.integers(len(content))), int(random.integers(8))
    content[place] ^= 1 << bit
    # Staged output that was published is the same file as the part, and what was delivered is not ours to damage.
    damaged = path.with_name(f"{path.name}.damaged")
    damaged.write_bytes(content)
    damaged.replace(path)
    return f"bit {bit} of byte {place:,} of {len(content):,} of {path.relative_to(folder)} was flipped"


def _kind(parts: tuple[str, ...], checkpoints: str) -> str:
    """Files that are for the same."""
    below = parts[1:2] if parts[0] == checkpoints else parts[1:3]
    return "/".join(below) + (" unfinished" if parts[-1].endswith(".tmp") else "")
