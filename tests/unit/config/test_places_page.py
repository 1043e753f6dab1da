"""PLACES.md names the environment variables that the code looks at."""

import re
from importlib.resources import files
from pathlib import Path

import arroyo

READ = re.compile(r"""environ(?:\.get\(|\.pop\(|\[)\s*"([A-Z_]+)\"""")


def test_each_environment_variable_that_is_read_is_on_the_page():
    page = files("arroyo.config").joinpath("PLACES.md").read_text("utf-8")
    sources = Path(arroyo.__file__).parent.rglob("*.py")
    read = {name for path in sources for name in READ.findall(path.read_text("utf-8"))}
    assert {"ARROYO_RUN_DIR", "HOME", "NOTIFY_SOCKET"} <= read
    assert {name for name in read if f"`{name}`" not in page} == set()
