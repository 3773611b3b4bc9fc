"""Reading image sets: what is embedded is whole, and what is not whole is named."""

from __future__ import annotations

import gzip
import os
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


def test_mnist_stays_in_the_order_of_its_files() -> None:
    mnist = data.load()
    assert not mnist.shuffled
    # Recorded in every bundle: a change here makes runs incomparable.
    assert mnist.sha256 == "b7665c8e9bba8baf94f11a85fbbcf0ff7c24507129a921c73a30d4db64bada2e"


DOTTED = {name: name.replace("-idx", ".idx") for name in data.EMBEDDED_MD5}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", DOTTED)
def test_names_with_a_dot_are_read(small_set: Path, name: str, compressed: bool) -> None:
    expected, path = data.load(small_set).sha256, small_set / name
    content = gzip.compress(path.read_bytes()) if compressed else path.read_bytes()
    (small_set / f"{DOTTED[name]}{'.gz' if compressed else ''}").write_bytes(content)
    path.unlink()
    assert data.load(small_set).sha256 == expected


@pytest.mark.parametrize("within", ["raw", "MNIST/raw"])
def test_the_folders_of_torchvision_are_read(small_set: Path, tmp_path: Path, within: str) -> None:
    folder = tmp_path / "torchvision"
    shutil.copytree(small_set, folder / within, ignore=shutil.ignore_patterns("torchvision"))
    assert data.load(folder).sha256 == data.load(small_set).sha256
    if within != "raw":
        shutil.copytree(folder / within, folder / "FashionMNIST" / "raw")
        with pytest.raises(data.DataError, match=r"several data sets: .*FashionMNIST/raw, .*MNIST"):
            data.load(folder)


def test_a_file_with_nearly_the_right_name_is_pointed_out(small_set: Path) -> None:
    (small_set / TRAIN_LABELS).rename(small_set / "train-labels.idx1.ubyte")
    with pytest.raises(data.DataError, match=r"no such file; there is train-labels\.idx1\.ubyte, "):
        data.load(small_set)


def test_what_is_no_file_or_cannot_be_one_is_not_read(small_set: Path, tmp_path: Path) -> None:
    (small_set / TRAIN_LABELS).unlink()
    os.mkfifo(small_set / TRAIN_LABELS)
    with pytest.raises(data.DataError, match=r"no such file") as raised:
        data.load(small_set)
    assert f"there is {TRAIN_LABELS}" not in str(raised.value)
    (tmp_path / "loop").symlink_to("loop")
    for folder in (tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(data.DataError, match=r"cannot be read|no such file"):
            data.load(folder)


def test_data_is_told_by_its_content(small_set: Path, tmp_path: Path) -> None:
    first = data.load(small_set).sha256
    copy = tmp_path / "another name"
    copy.mkdir()
    for path in small_set.glob("*ubyte"):
        (copy / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    assert data.load(copy).sha256 == first
    for name in data.EMBEDDED_MD5:
        whole = (small_set / name).read_bytes()
        (small_set / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert data.load(small_set).sha256 != first, name
        (small_set / name).write_bytes(whole)


def test_arrays_of_the_same_bytes_in_other_shapes_are_other_data() -> None:
    def zeros(images: int, pixels: int) -> str:
        split = data.Split(
            images=np.zeros((images, pixels), np.uint8), labels=np.zeros(images, np.int32)
        )
        return data.Dataset(training=split, validation=split, test=split, classes=1).sha256

    # Five bytes an image of one pixel and its label, nine of one of five pixels.
    assert zeros(9, 1) != zeros(5, 5)


@pytest.mark.parametrize("images", [24, 1200])
def test_a_file_sorted_by_class_is_shuffled_before_it_is_split(tmp_path: Path, images: int) -> None:
    labels = np.sort(np.arange(images) % 4)
    for prefix in ("train", "t10k"):
        # Every image tells its class and its place in the file.
        pixels = np.stack([labels, np.arange(images) % 256, np.arange(images) // 256], axis=1)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", pixels[:, :, None])
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", labels)
    dataset = data.load(tmp_path)
    assert dataset.shuffled
    assert len(np.unique(dataset.validation.labels)) > 1
    assert set(dataset.training.labels) == {0, 1, 2, 3}
    parts = [dataset.validation, dataset.training]
    for part in parts:
        np.testing.assert_array_equal(part.images[:, 0], part.labels)
    together = np.concatenate([part.images for part in parts])
    assert len(np.unique(together, axis=0)) == images
    # The same each time; the test images stay as they are.
    assert data.load(tmp_path).sha256 == dataset.sha256
    np.testing.assert_array_equal(dataset.test.labels, labels)


def test_a_set_in_random_order_is_left_as_it_is(images: Path) -> None:
    assert not data.load(images).shuffled
