"""`read_pixels`: reads Q, mask and uncertainties of a detector's pixels from an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from arroyo.errors import ConfigurationError

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]


class Pixels(NamedTuple):
    """Properties of the detector's pixels; all arrays have the image's shape.

    Attributes
    ----------
    q
        Length of the scattering vector, in `q_units`.
    usable
        False where a pixel must not be counted.
    sigma
        Standard deviation of one image's values, in their unit; None where they are raw counts.
    q_units
        Unit of `q` in the file; empty where it has none.
    """

    q: Floats
    usable: NDArray[np.bool_]
    sigma: Floats | None = None
    q_units: str = ""


def read_pixels(path: Path, q: str, mask: str | None, sigma: str | None) -> Pixels:
    """Read the pixels of a detector from an HDF5 file.

    A pixel whose Q or sigma is not finite is not usable.

    Raises
    ------
    ConfigurationError
        The file or a dataset is missing or unreadable, or holds no real numbers, or their shapes
        differ.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConfigurationError(
            "reading a Q map needs h5py, which is not installed: pip install 'arroyo[hdf5]'"
        ) from error
    try:
        file = h5py.File(path)
    except OSError as error:
        reason = "is no readable HDF5 file" if path.exists() else "does not exist"
        raise ConfigurationError(
            f"the file {path} {reason} (seen from {Path.cwd()}); it should hold the Q map"
        ) from error
    with file:
        dataset = _find(file, path, q)
        values = np.asarray(dataset, np.float64)
        if values.ndim == 3:
            values = np.sqrt(np.square(values).sum(axis=0))
        if values.ndim != 2:
            raise ConfigurationError(
                f"{q} in {path} has shape {dataset.shape}; expected (rows, columns) or "
                "(components, rows, columns)"
            )
        usable = np.isfinite(values)
        if mask is not None:
            usable &= ~_read_like(values, file, path, mask).astype(bool)
        deviations = None
        if sigma is not None:
            deviations = _read_like(values, file, path, sigma).astype(np.float64, copy=False)
            usable &= np.isfinite(deviations)
        return Pixels(values, usable, deviations, _text(dataset.attrs.get("units", "")))


def _read_like(q: Floats, file: h5py.File, path: Path, name: str) -> NDArray[Any]:
    values = np.asarray(_find(file, path, name))
    if values.shape != q.shape:
        raise ConfigurationError(
            f"{name} in {path} has shape {values.shape}, but the Q map has {q.shape}"
        )
    return values


def _find(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    import h5py

    found = file.get(name)
    if isinstance(found, h5py.Dataset):
        if found.dtype.kind not in "biuf" or found.shape is None:
            held = "nothing" if found.shape is None else f"values of type {found.dtype}"
            raise ConfigurationError(f"{name} in {path} holds {held}, expected real numbers")
        return found
    datasets: list[str] = []
    file.visititems(lambda key, item: datasets.append(key) if hasattr(item, "shape") else None)
    raise ConfigurationError(f"{path} has no dataset {name!r}; it has {', '.join(datasets)}")


def _text(attribute: Any) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)
