"""Runs threads in turns of a few bytecodes each, in an order that a seed decides.

So a race is met in the same place each time, and many places are tried that a machine would come
to once a year. A thread that waits for another one loses its turn until it comes on again.
"""

import random
import sys
import threading
from collections.abc import Callable

BLOCKED_S = 0.002
"""A thread that does not come to its next bytecode in this time waits for another one."""
STUCK_S = 30.0
LONGEST_TURN = 12
MOST_TURNS = 50_000


class _Runner(threading.Thread):
    def __init__(self, does: Callable[[], None], files: frozenset[str]) -> None:
        super().__init__(daemon=True)
        self._does, self._files = does, files
        self._steps = 0
        self._turn, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False
        self.error: BaseException | None = None

    def run(self) -> None:
        sys.settrace(self._enter)
        try:
            self._does()
        except BaseException as error:  # noqa: BLE001  (it is raised in the test)
            self.error = error
        finally:
            sys.settrace(None)
            self.over = True
            self.stopped.release()

    def _enter(self, frame, event, argument):
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame, event, argument):
        if event == "opcode":
            if not self._steps:
                self.stopped.release()
                self._turn.acquire()
            self._steps -= 1
        return self._step

    def give(self, steps: int) -> None:
        self._steps = steps
        self._turn.release()


def interleave(seed: int, modules: list, *functions: Callable[[], None]) -> None:
    """Run the functions in threads; what one of them raises is raised.

    Parameters
    ----------
    seed
        Decides whose turn it is.
    modules
        In which turns may end.
    """
    choose = random.Random(seed)
    files = frozenset(module.__file__ for module in modules)
    runners = [_Runner(does, files) for does in functions]
    for runner in runners:
        runner.start()
    waiting, running = [], set(runners)
    silent_s, turns = 0.0, 0
    while waiting or running:
        turns += 1
        assert turns < MOST_TURNS, "they go round in circles"
        for runner in list(running):
            if runner.stopped.acquire(timeout=BLOCKED_S if not waiting else 0.0):
                running.discard(runner)
                silent_s = 0.0
                if runner.error is not None:
                    raise runner.error
                if not runner.over:
                    waiting.append(runner)
        if waiting:
            runner = waiting.pop(choose.randrange(len(waiting)))
            runner.give(choose.randint(1, LONGEST_TURN))
            if runner.stopped.acquire(timeout=BLOCKED_S):
                if runner.error is not None:
                    raise runner.error
                if not runner.over:
                    waiting.append(runner)
            else:
                running.add(runner)
        else:
            silent_s += BLOCKED_S
            assert silent_s < STUCK_S, "the threads wait for each other"
