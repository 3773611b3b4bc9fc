"""Reading image sets: what is embedded is whole, and what is not whole is named."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.plan import data
from tests.support.images import write_idx

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """24 training and 6 test images of 2×3 pixels, uncompressed."""
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 24), ("t10k", 6)):
        images = generator.integers(0, 256, (count, 2, 3))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 4)
    return tmp_path


@pytest.fixture
def copied_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded files that is checked as they are."""
    folder = tmp_path / "mnist"
    shutil.copytree(data.EMBEDDED, folder)
    monkeypatch.setattr(data, "EMBEDDED", folder.resolve())
    return folder


def test_embedded_mnist_is_the_published_one() -> None:
    mnist = data.load()
    assert mnist.training.images.shape == (55_000, 784)
    assert mnist.validation.images.shape == (5_000, 784)
    assert mnist.test.images.shape == (10_000, 784)
    assert mnist.classes == 10
    # The first labels of the training and test files, as on the data set's own page.
    assert mnist.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_pixels_are_divided_by_255(small_set: Path) -> None:
    split = data.load(small_set).training
    for precision in ("float32", "float64"):
        images = split.stored_as(precision).images
        assert images.dtype == precision
        np.testing.assert_allclose(images * 255, split.images, rtol=1e-6)


def test_other_sets_load_and_hold_out_a_twelfth(small_set: Path) -> None:
    dataset = data.load(small_set)
    assert len(dataset.validation.labels) == 2
    assert len(dataset.training.labels) == 22
    assert dataset.pixels == 6
    assert dataset.classes == 4


def test_compressed_and_plain_files_are_the_same(small_set: Path) -> None:
    plain = data.load(small_set)
    for path in list(small_set.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(data.load(small_set).training.images, plain.training.images)


def test_a_missing_file_is_named(small_set: Path) -> None:
    (small_set / TRAIN_LABELS).unlink()
    with pytest.raises(data.DataError, match=TRAIN_LABELS):
        data.load(small_set)


def test_a_truncated_file_is_named(small_set: Path) -> None:
    path = small_set / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(data.DataError, match=f"{TRAIN_IMAGES}: damaged or truncated"):
        data.load(small_set)


@pytest.mark.parametrize("keep", [0, 3, 100])
def test_a_truncated_compressed_file_is_named(copied_mnist: Path, keep: int) -> None:
    path = copied_mnist / f"{TRAIN_LABELS}.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(data.DataError, match=TRAIN_LABELS):
        data.load(data.EMBEDDED)


def test_a_changed_byte_is_found_by_the_checksum(copied_mnist: Path) -> None:
    path = copied_mnist / f"{TRAIN_LABELS}.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[1000] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(data.DataError, match=f"{TRAIN_LABELS}.gz: damaged: its checksum"):
        data.load(data.EMBEDDED)


def test_a_file_of_another_kind_is_named(small_set: Path) -> None:
    (small_set / TRAIN_LABELS).write_bytes(b"<html>not found</html>")
    with pytest.raises(data.DataError, match=f"{TRAIN_LABELS}: not an IDX file"):
        data.load(small_set)


def test_images_and_labels_must_be_as_many(small_set: Path) -> None:
    write_idx(small_set / TRAIN_LABELS, np.zeros(23))
    with pytest.raises(data.DataError, match=r"24 images but .* 23 labels"):
        data.load(small_set)
