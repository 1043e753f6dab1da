import json
import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]

# Pairs of fresh interpreters, taken in turn so that both see the same machine; processor time.
PAIRS = 15
ALLOWED_S = 0.010

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
    for _ in range(PAIRS):
        for module, times_s in took_s.items():
            times_s.append(import_in_fresh_interpreter(module)[0])
    # The least of each: what others do on this machine meanwhile only adds to it.
    assert min(took_s["arroyo"]) - min(took_s["msgspec"]) <= ALLOWED_S


def test_imports_go_down_only_and_pure_packages_stay_pure(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    result = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert result == 0, capsys.readouterr().out
