"""Archives of what a step has left, small enough to be sent."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

MOST_BYTES = 15 * 2**20
"""The size that no file to send exceeds."""
MOST_FILES = 8
LEFT_OUT = "left-out.txt"
HEADERS = 200
"""The bytes of an archive for each file besides its content and its name, which stands twice."""
LINE, CLOSING = 30, 2048
"""The characters of a line besides its name, and the bytes of an archive besides its files."""
CHUNK = 2**20


def packed_size(path: Path, name: str) -> int:
    """The bytes that a file takes in an archive under this name."""
    packer, size = zlib.compressobj(), 0
    with path.open("rb") as file:
        while content := file.read(CHUNK):
            size += len(packer.compress(content))
    return size + len(packer.flush()) + 2 * len(name.encode()) + HEADERS


def pack(archive: Path, folders: Iterable[Path], most: int = MOST_BYTES) -> list[str]:
    """Write the files of some folders into a zip archive of at most `most` bytes.

    Where they are too many, the largest are left out. Returns a line for each of these; the archive
    has the lines too. The archive is replaced as a whole, so a call that is cut off loses nothing.
    """
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                name = str(path.relative_to(folder.parent))
                found[name] = path, packed_size(path, name)
    # Room for the lines about what is left out, which pack well.
    left = most - sum(len(name.encode()) + LINE for name in found) // 4 - CLOSING
    lines, kept = [], []
    for name, (path, size) in sorted(found.items(), key=lambda item: item[1][1]):
        if size <= left:
            kept.append((name, path))
            left -= size
        else:
            lines.append(f"{name}: {size / 2**20:.1f} MiB, left out")
    unfinished = archive.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
        for name, path in sorted(kept):
            file.write(path, name)
        if lines:
            file.writestr(LEFT_OUT, "\n".join(lines) + "\n")
    unfinished.replace(archive)
    return lines
