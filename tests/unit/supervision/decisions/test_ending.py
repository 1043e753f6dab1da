import signal

import pytest

from arroyo.supervision.decisions.ending import Ending, Evidence, blame, describe_end

MESSAGE = "images.0 message 4711"


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT]
)
def test_a_crash_is_put_down_to_the_message_in_hand(number):
    assert f"({number.name})" in blame(-number, Evidence())


@pytest.mark.parametrize("status", [-9, -15, -2, -77, 0, 1, 70, 75, 78])
def test_a_kill_from_outside_or_an_error_is_no_evidence(status):
    assert blame(status, Evidence(message=MESSAGE, said="StageError: no beam")) == ""


@pytest.mark.parametrize("status", [0, 3, 70, 75, 78])
def test_an_exit_in_the_midst_of_process_is_put_down_to_the_message_in_hand(status):
    assert f"exit({status})" in blame(status, Evidence(message=MESSAGE, phase="PROCESS"))
    assert blame(status, Evidence(message=MESSAGE, phase="ENDED")) == ""
    assert blame(status, Evidence(phase="PROCESS")) == ""


def test_lack_of_memory_is_evidence():
    too_large = Evidence(message=MESSAGE, too_large="612 MiB of memory, more than 512 MiB")
    assert describe_end(Ending(3.0, -9, "", too_large), "3 s") == (
        f"was killed for having 612 MiB of memory, more than 512 MiB, on {MESSAGE}"
    )
    assert "lack of memory" in blame(-9, Evidence(out_of_memory=True))
    assert "MemoryError" in blame(70, Evidence(said="Sum raised MemoryError on Event 3"))


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (
            Ending(3.0, -11, "", Evidence(message=MESSAGE)),
            f"died of a segmentation fault (SIGSEGV) on {MESSAGE}",
        ),
        (
            Ending(3.0, -6, "", Evidence(dumped_core=True, stacks="a.0.stacks.1")),
            "died of an abort (SIGABRT) after 3 s; it dumped core; its stack is in a.0.stacks.1",
        ),
        (
            Ending(
                40.0,
                -9,
                "",
                Evidence(message=MESSAGE, hung="hung in process() for 31 s", stacks="a.0.stacks.1"),
            ),
            f"hung in process() for 31 s on {MESSAGE}; its stack is in a.0.stacks.1",
        ),
        (Ending(3.0, -9, "", Evidence(message=MESSAGE)), "was killed (SIGKILL) after 3 s"),
        (Ending(3.0, 75, "", Evidence(said="no server")), "exited with 75 after 3 s: no server"),
        (Ending(3.0, 0), "exited with 0 after 3 s, with its work unfinished"),
        (Ending(0.0, None, "Too many open files"), "could not be started: Too many open files"),
    ],
)
def test_an_end_in_words(ending, words):
    assert describe_end(ending, "3 s") == words
