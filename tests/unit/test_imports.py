import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# 10 ms on a machine at rest on which `import msgspec` takes 18.5 ms. As a part of that, since other
# programs slow down both imports alike: they take the caches, which processor time doesn't show.
ALLOWED_PART = 10 / 18.5
# Pairs of fresh interpreters, taken in turn so that both see the same machine. A busy machine
# needs more of them until the least of each is near what it takes undisturbed.
PAIRS = range(15, 100)

MEASURE = """
import json, sys, time
start = time.process_time()
import {module}
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""


def import_in_fresh_interpreter(module):
    command = [sys.executable, "-c", MEASURE.format(module=module)]
    output = subprocess.run(command, capture_output=True, check=True, cwd="/").stdout
    duration_s, modules = json.loads(output)
    return duration_s, modules


def test_importing_arroyo_loads_nothing_heavy():
    _, modules = import_in_fresh_interpreter("arroyo")
    heavy = {"zmq", "numpy", "logging", "asyncio", "multiprocess", "psutil", "click", "socket"}
    assert not heavy & set(modules)


def test_importing_arroyo_takes_hardly_longer_than_importing_msgspec():
    took_s = {"arroyo": [], "msgspec": []}
    for pair in range(1, PAIRS.stop):
        for module, times_s in took_s.items():
            times_s.append(import_in_fresh_interpreter(module)[0])
        # The least of each: what others do on this machine meanwhile only adds to it.
        least_s = min(took_s["msgspec"])
        part = (min(took_s["arroyo"]) - least_s) / least_s
        if pair >= PAIRS.start and part <= ALLOWED_PART:
            return
    pytest.fail(f"`import arroyo` takes {part:.0%} longer than `import msgspec` ({least_s:.4f} s)")


def test_imports_go_down_only_and_pure_packages_stay_pure():
    # In a process of its own: import-linter disables all loggers that it finds.
    lint = "import importlinter.cli as cli; cli.lint_imports_command()"
    command = [sys.executable, "-c", lint, "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
