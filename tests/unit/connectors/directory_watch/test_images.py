"""Images of the kinds that the libraries read, and damaged ones."""

import logging

import numpy as np
import pytest
import tifffile

from arroyo.connectors.directory_watch.images import UNREADABLE, load_readers, read_array


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".npy"])
def test_an_image_is_read_only(tmp_path, suffix):
    image = np.arange(12, dtype=">u2").reshape(3, 4)
    with (tmp_path / f"image{suffix}").open("wb") as file:
        (np.save if suffix == ".npy" else tifffile.imwrite)(file, image)
    found = read_array(tmp_path / f"image{suffix}", np.empty)
    assert (found == image).all()
    assert not found.flags.writeable


def test_pages_of_one_shape_are_one_array(tmp_path):
    pages = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", pages)
    assert (read_array(tmp_path / "a.tif", np.empty) == pages).all()


@pytest.mark.parametrize("array", [np.arange(6).astype("M8[s]"), np.zeros((0, 5)), np.array(3.5)])
def test_an_array_of_numpy_comes_as_it_was_written(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy", np.empty)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert (found == array).all()


def write_npy(path, image):
    np.save(path, image)


def write_zlib(path, image):
    tifffile.imwrite(path, image, compression="zlib")


def write_foreign(path, image):
    tifffile.imwrite(path, image, byteorder=">")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npy", write_npy),
        ("a.tif", tifffile.imwrite),
        ("a.tif", write_zlib),
        ("a.tif", write_foreign),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_an_image_is_read_into_an_array_of_the_reader(tmp_path, name, write, shape):
    image = np.arange(np.prod(shape, dtype=int), dtype="u2").reshape(shape)
    write(tmp_path / name, image)
    made = []

    def allocate(shape, dtype):
        made.append(np.zeros(shape, dtype))
        return made[-1]

    found = read_array(tmp_path / name, allocate)
    assert (found == image).all()
    assert found.shape == shape
    assert found is made[0] or np.shares_memory(found, made[0])


@pytest.mark.parametrize("order", ["another order of axes", "another version"])
def test_arrays_that_can_not_be_read_as_they_are_become_new_ones(tmp_path, order):
    image = np.arange(12.0).reshape(3, 4)
    if order == "another version":
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, image, version=(2, 0))
    else:
        np.save(tmp_path / "a.npy", np.asfortranarray(image))
    assert (read_array(tmp_path / "a.npy", np.empty) == image).all()


def test_a_file_that_is_longer_or_shorter_than_it_says_is_treated_as_numpy_does(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content + b"more")
    assert (read_array(tmp_path / "a.npy", np.empty) == np.arange(12)).all()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(UNREADABLE, match="not fully written"):
        read_array(tmp_path / "a.npy", np.empty)


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_other_files_are_no_images(tmp_path, name):
    with pytest.raises(ValueError, match="arrays are read from"):
        read_array(tmp_path / name, np.empty)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_array(tmp_path / "a.npy", np.empty)


def test_what_tifffile_says_of_a_broken_image_is_a_warning(caplog):
    load_readers("*.tif")
    logging.getLogger("tifffile").error("corrupted")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_image_that_is_larger_than_its_file_can_be_is_not_tried(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6), np.uint16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(60_000)
    with pytest.raises(ValueError, match="can't hold an image of 7200000000 bytes"):
        read_array(tmp_path / "a.tif", np.empty)
