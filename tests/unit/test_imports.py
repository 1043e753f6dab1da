import json
import statistics
import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]

# Pairs of fresh interpreters, taken in turn so that both see the same machine.
PAIRS = 15
ALLOWED_S = 0.010

MEASURE = """
import json, sys, time
start = time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
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
    differences_s = []
    for _ in range(PAIRS):
        arroyo_s, _ = import_in_fresh_interpreter("arroyo")
        msgspec_s, _ = import_in_fresh_interpreter("msgspec")
        differences_s.append(arroyo_s - msgspec_s)
    assert statistics.median(differences_s) <= ALLOWED_S


def test_imports_go_down_only_and_pure_packages_stay_pure(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    result = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert result == 0, capsys.readouterr().out
