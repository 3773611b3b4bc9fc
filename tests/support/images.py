"""A small image set in IDX format, for tests that need a run but not MNIST itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

SIDE = 8
CLASSES = 10
TRAINING_IMAGES, TEST_IMAGES = 6_600, 100
"""A twelfth of the training images is for validation: more than the 512 of a batch reading."""


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array as an IDX file of unsigned bytes."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_image_set(folder: Path) -> Path:
    """Write the four files of a set that a small network can learn: ten patterns under noise."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 200, (CLASSES, SIDE, SIDE))
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", TRAINING_IMAGES), ("t10k", TEST_IMAGES)):
        labels = generator.permutation(np.arange(count) % CLASSES)
        images = patterns[labels] + generator.integers(0, 56, (count, SIDE, SIDE))
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder
