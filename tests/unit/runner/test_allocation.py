import subprocess
import sys


def test_settling_leaves_the_collector_at_work_on_what_is_new():
    # In a process of its own: it is for good.
    script = """
import gc, weakref
from arroyo.runner.allocation import GARBAGE_OBJECTS, settle

class Node:
    pass

settle()
assert gc.get_freeze_count() > 1000 and gc.isenabled()
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[] for _ in range(2 * GARBAGE_OBJECTS)]
assert gone() is None
"""
    subprocess.run([sys.executable, "-P", "-c", script], check=True, timeout=30)
