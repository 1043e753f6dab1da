import os
import subprocess
import sys

import pytest

A_FEW = 20
"""Pages that the interpreter itself may ask for meanwhile."""


def test_tuning_leaves_the_collector_at_work_on_what_is_new():
    # In a process of its own: it is for good.
    script = """
import gc, weakref
from arroyo.runner.process.memory_tuning import GARBAGE_OBJECTS, tune_memory

class Node:
    pass

tune_memory()
assert gc.get_freeze_count() > 1000 and gc.isenabled()
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[] for _ in range(2 * GARBAGE_OBJECTS)]
assert gone() is None
"""
    subprocess.run([sys.executable, "-P", "-c", script], check=True, timeout=60)


def test_tuning_gives_back_what_the_start_has_freed():
    # In a process of its own: it is for good.
    script = """
from arroyo.runner.process.memory_tuning import tune_memory

def resident_pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

blocks = [bytes(1000) for _ in range(20_000)]
del blocks[:-1]  # the last one keeps the top of the heap
before = resident_pages()
tune_memory()
assert before - resident_pages() > 4000, (before, resident_pages())
"""
    subprocess.run([sys.executable, "-P", "-c", script], check=True, timeout=60)


# What a stage's code does to each frame, and how many pages the kernel has to give it for that.
FAULTS = """
import resource, sys
import numpy as np

if "tune_memory" in sys.argv:
    from arroyo.runner.process.memory_tuning import tune_memory
    tune_memory()

def work(frame):
    return ((frame * 2.0) + 1.0).sum()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

frame = np.ones((int(sys.argv[1]) << 20) // 8)
for _ in range(5):
    work(frame)
before = faults()
for _ in range(10):
    work(frame)
print(faults() - before)
"""


@pytest.mark.parametrize("frame_mib", [2, 8, 24])
def test_arrays_of_users_code_cost_no_more_pages_inside_a_stage_than_outside(frame_mib):
    inside, outside = (faults(str(frame_mib), *where) for where in (["tune_memory"], []))
    assert inside <= outside + A_FEW


def faults(*arguments):
    # Huge pages would hide most of them, where the kernel has any to give.
    done = subprocess.run(
        [sys.executable, "-P", "-c", FAULTS, *arguments],
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
    )
    return int(done.stdout)
