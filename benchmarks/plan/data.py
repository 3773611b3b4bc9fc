"""Image sets in MNIST's IDX format: reading, checking and splitting.

The format, as the data set's page describes it, is big-endian: two zero bytes, a byte for the type
of the elements (8: unsigned byte), a byte for the number of dimensions, a 32-bit size for each
dimension, then the elements.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np

from backends.contract import Array, TrainingSet
from benchmarks.errors import UsageError

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "mnist"
"""The folder of the MNIST files that come with this program."""

EMBEDDED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

"""MD5 of the decompressed files, as every mirror of MNIST publishes them."""

UNSIGNED_BYTE = 8
SHUFFLE_SEED = 0
"""Seed of the shuffle of a training file that is sorted by class."""


class DataError(UsageError):
    """A file of the data set is missing or damaged; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images (n, pixels) of uint8, and their labels (n,) of int32."""

    images: Array = field(repr=False)
    labels: Array = field(repr=False)

    @cached_property
    def unlit(self) -> Array:
        """Of each pixel, whether it is zero in every image: (pixels,)."""
        result: Array = self.images.max(axis=0) == 0
        return result

    def stored_as(self, dtype: str) -> TrainingSet:
        """The images divided by 255, in the NumPy type of that name, and the labels."""
        number = np.dtype(dtype)
        return TrainingSet(images=self.images.astype(number) / number.type(255), labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """An image set, split as the tutorial's loader splits MNIST: 55,000 / 5,000 / 10,000."""

    training: Split
    validation: Split
    test: Split
    classes: int
    shuffled: bool = False
    """Whether the training file was shuffled before it was split, since it was sorted by class."""

    @property
    def pixels(self) -> int:
        """The number of pixels of an image: the inputs of the network."""
        return int(self.training.images.shape[1])

    @cached_property
    def sha256(self) -> str:
        """A checksum of all images and labels, whatever their files and folder are called."""
        digest = hashlib.sha256()
        for split in (self.training, self.validation, self.test):
            for array in (split.images, split.labels):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def spellings(name: str) -> list[str]:
    """The names that a file may have: with a dash or, as some mirrors write it, a dot; with .gz."""
    dotted = name.replace("-idx", ".idx")
    return [f"{name}.gz", name, f"{dotted}.gz", dotted]


def located(folder: Path) -> Path:
    """The folder with the files: `folder`, or the only `raw` in it, as torchvision lays it out.

    Raises DataError where there are several to choose from.
    """
    # Looking into what is no folder may raise an error.
    raws = [folder / "raw", *sorted(folder.glob("*/raw"))] if os.access(folder, os.X_OK) else []
    for candidates in ([folder], raws):
        names = spellings("train-images-idx3-ubyte")
        found = [one for one in candidates if any(os.access(one / name, os.F_OK) for name in names)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{folder}: holds several data sets: {', '.join(map(str, found))}")
    return folder


def _content(folder: Path, name: str) -> tuple[Path, bytes]:
    """The decompressed bytes of the file `name`, in whatever spelling, and their path.

    Raises DataError where it cannot be read.
    """
    for path in (folder / spelling for spelling in spellings(name)):
        try:
            if not path.is_file():
                continue
            raw = path.read_bytes()
            return path, gzip.decompress(raw) if path.suffix == ".gz" else raw
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read ({error}); fetch it again") from None
    readable = os.access(folder, os.R_OK | os.X_OK) and folder.is_dir()
    present = [path.name for path in folder.iterdir() if path.is_file()] if readable else []
    near = get_close_matches(name, present, 3)
    hint = f"; there is {', '.join(near)}, which has another name" if near else ""
    raise DataError(
        f"{folder / name}[.gz]: no such file{hint}; --data-dir takes a folder in IDX format"
    )


def read_idx(folder: Path, name: str, dimensions: int, md5: str | None = None) -> Array:
    """One IDX file of unsigned bytes, as an array of that many dimensions.

    Raises DataError where the file is missing or damaged, or its `md5` is another.
    """
    path, content = _content(folder, name)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(f"{path}: not an IDX file of bytes in {dimensions} dimension(s)")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path}: damaged or truncated: {len(content) - header:,} bytes of data where its "
            f"header promises {math.prod(shape):,}; fetch it again"
        )
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path}: damaged: its checksum is not the published one; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_pair(folder: Path, prefix: str) -> Split:
    checksums = EMBEDDED_MD5 if folder == EMBEDDED else {}
    images_name, labels_name = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images = read_idx(folder, images_name, 3, checksums.get(images_name))
    labels = read_idx(folder, labels_name, 1, checksums.get(labels_name))
    if len(images) != len(labels):
        raise DataError(
            f"{folder / images_name} holds {len(images):,} images but "
            f"{folder / labels_name} {len(labels):,} labels"
        )
    return Split(images=images.reshape(len(images), -1), labels=labels.astype(np.int32))


def load(folder: Path = EMBEDDED) -> Dataset:
    """Read an image set; the first twelfth of its training images is kept for validation.

    Of MNIST's 60,000 that is 5,000. Where a shuffle would bring more classes into that part, as
    where images are sorted by class, they are shuffled first, always in the same way. Raises
    DataError where files are missing, damaged or too small.
    """
    folder = located(Path(os.path.realpath(folder)))
    files, test = _read_pair(folder, "train"), _read_pair(folder, "t10k")
    if files.images.shape[1] != test.images.shape[1]:
        raise DataError(f"{folder}: training and test images differ in size")
    held_out = len(files.labels) // 12
    if held_out == 0 or test.images.size == 0:
        raise DataError(f"{folder}: needs at least 12 training images and 1 test image")
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(files.labels))
    shuffled_labels = files.labels[order[:held_out]]
    shuffled = len(np.unique(shuffled_labels)) > len(np.unique(files.labels[:held_out]))
    if shuffled:
        files = Split(images=files.images[order], labels=files.labels[order])
    return Dataset(
        training=Split(images=files.images[held_out:], labels=files.labels[held_out:]),
        validation=Split(images=files.images[:held_out], labels=files.labels[:held_out]),
        test=test,
        classes=int(max(files.labels.max(), test.labels.max())) + 1,
        shuffled=shuffled,
    )
