"""Images of the kinds that the libraries read, and damaged ones."""

import logging

import numpy as np
import pytest
import tifffile

from arroyo.connectors.directory_watch.images import load_readers, read_array


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".npy"])
def test_an_image_is_read_only(tmp_path, suffix):
    image = np.arange(12, dtype=">u2").reshape(3, 4)
    with (tmp_path / f"image{suffix}").open("wb") as file:
        (np.save if suffix == ".npy" else tifffile.imwrite)(file, image)
    found = read_array(tmp_path / f"image{suffix}")
    assert (found == image).all()
    assert not found.flags.writeable


def test_pages_of_one_shape_are_one_array(tmp_path):
    pages = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", pages)
    assert (read_array(tmp_path / "a.tif") == pages).all()


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_other_files_are_no_images(tmp_path, name):
    with pytest.raises(ValueError, match="arrays are read from"):
        read_array(tmp_path / name)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_array(tmp_path / "a.npy")


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
        read_array(tmp_path / "a.tif")
