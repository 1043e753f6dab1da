"""What a stage's process does before and after it is a stage."""

import os
import subprocess
import sys

from chains import is_gone, wait_until

LEAVING = """
import subprocess
from arroyo.supervision.watching.child import detach, dismiss_group
detach({lifeline})
print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid)
dismiss_group()
"""


def leave(lifeline):
    """Return how a process leaves that has started a program, and the pid of that."""
    code = LEAVING.format(lifeline=lifeline)
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=[lifeline], check=False
    )
    return ended.returncode, int(ended.stdout)


def test_programs_that_a_stage_leaves_are_ended_though_its_supervisor_lives():
    # It may die a moment later, and before it has ended them itself.
    lifeline, held_by_supervisor = os.pipe()
    try:
        code, program = leave(lifeline)
    finally:
        os.close(lifeline)
        os.close(held_by_supervisor)
    assert code == 0
    wait_until(lambda: is_gone(program), lambda: f"{program} is left")
