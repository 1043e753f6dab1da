"""A certificate authority for a test, and a server's certificate that it has signed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from installed import require

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Certificates(NamedTuple):
    """Files for a server that is called ``localhost``, and by no address."""

    authority: Path
    server: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A new authority that nobody trusts yet, and what it has signed."""
    require("" if shutil.which("openssl") else "openssl is not installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    signing = folder / "ca.key"
    _openssl("req", "-x509", *KEY, "-keyout", signing, "-out", made.authority, "-subj", "/CN=test")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    _openssl(
        *("req", "-x509", *KEY, "-keyout", made.key, "-out", made.server, *names),
        *("-CA", made.authority, "-CAkey", signing, "-addext", "basicConstraints=CA:FALSE"),
    )
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
