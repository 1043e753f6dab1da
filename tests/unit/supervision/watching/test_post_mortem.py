import os
import signal
import stat

import pytest
from log_lines import log_line
from supervised_histories import make_chain

from arroyo.control.stacks import stacks_file
from arroyo.control.suspect_notes import SuspectList, SuspectLists, SuspectNote, take_suspect
from arroyo.identifiers import ReplicaName
from arroyo.supervision.watching.post_mortem import LINE_CHARACTERS, PostMortem
from arroyo.supervision.watching.processes import Exit
from arroyo.telemetry.output import output_file
from arroyo.telemetry.status_page import StatusPage, read_status_page
from arroyo.telemetry.status_words import NO_SEQUENCE, Phase

NAME = ReplicaName("integrate", 0)
SEGFAULT = Exit(-signal.SIGSEGV)


@pytest.fixture
def examine(run_directory):
    post_mortem = PostMortem(make_chain({"images": (), "integrate": ("images",)}), run_directory)
    return lambda end, page, **more: post_mortem.examine(NAME, 7, end, page, **more)


@pytest.fixture
def page(run_directory):
    """Words of a page with message 4711 of images.0 in hand."""
    path = run_directory.status_page(NAME)
    made = StatusPage(path, os.getpid(), 1)
    made.enter(Phase.PROCESS, 1)
    made.take(0, 99, 11)
    made.word("hand_sequence")[0] = 4711
    made.close()
    return read_status_page(path)


def test_a_crash_leaves_a_suspect_with_its_stack(examine, page, run_directory):
    stacks = stacks_file(run_directory.log(NAME))
    stacks.write_text("Fatal Python error: Segmentation fault\n")
    evidence = examine(SEGFAULT, page)
    assert evidence.message == "images.0 message 4700"
    assert evidence.phase == "PROCESS"
    assert evidence.stacks == f"{stacks}.1"
    note = run_directory.status_page(NAME).with_name("integrate.0.suspect")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert take_suspect(run_directory, NAME) == SuspectNote(
        source="images.0",
        epoch=99,
        sequence=4711,
        reason="died of a segmentation fault (SIGSEGV)",
        stack="Fatal Python error: Segmentation fault\n",
    )
    assert take_suspect(run_directory, NAME) is None


def test_a_message_in_hand_of_one_that_had_too_much_memory_is_a_suspect(
    examine, page, run_directory
):
    evidence = examine(Exit(-signal.SIGKILL), page, too_large="612 MiB of memory, more than 512")
    assert evidence.too_large == "612 MiB of memory, more than 512"
    assert not evidence.out_of_memory
    assert "612 MiB" in take_suspect(run_directory, NAME).reason


def test_what_the_process_did_last_is_no_part_of_the_stack(examine, page, run_directory):
    stacks_file(run_directory.log(NAME)).write_text(
        "Thread 1\n\n--- what led there\ntook batch 17\n--- end\n"
    )
    examine(SEGFAULT, page)
    assert take_suspect(run_directory, NAME).stack == "Thread 1\n"


def test_the_last_lines_are_kept_each_cut(examine, page, run_directory):
    run_directory.log(NAME).write_bytes(log_line("ERROR", "x" * 1000))
    output_file(run_directory.log(NAME)).write_text("goodbye\n")
    logged, heading, printed = examine(SEGFAULT, page).last_lines
    assert logged == f"ERROR {'x' * 1000}"[:LINE_CHARACTERS]
    assert (heading, printed) == ("its last output:", "goodbye")


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGTERM])
def test_a_kill_from_outside_leaves_none(examine, page, run_directory, status):
    examine(Exit(status), page)
    assert take_suspect(run_directory, NAME) is None


@pytest.mark.parametrize("status", [0, 70])
def test_an_exit_of_the_stage_itself_leaves_none(examine, page, run_directory, status):
    examine(Exit(status), {**page, "phase": Phase.ENDED})
    assert take_suspect(run_directory, NAME) is None


@pytest.mark.parametrize("status", [0, 3, 70])
def test_an_exit_out_of_the_midst_of_a_message_leaves_one(examine, page, run_directory, status):
    assert examine(Exit(status), page).message == "images.0 message 4700"
    assert take_suspect(run_directory, NAME).reason == (
        f"was ended by an exit({status}) in the stage's own code"
    )


def test_a_hang_leaves_one(examine, page, run_directory):
    examine(Exit(-signal.SIGKILL), page, hung="hung in process() for 31 s")
    assert take_suspect(run_directory, NAME).reason == "hung in process() for 31 s"


def test_a_crash_with_a_list_in_hand_accuses_none_of_its_messages(examine, page, run_directory):
    evidence = examine(SEGFAULT, {**page, "hand_end": 4711 + 100})
    assert evidence.message == "images.0 messages 4700 to 4799"
    assert take_suspect(run_directory, NAME) is None
    (found,) = SuspectLists(run_directory, [NAME]).read()
    assert found == SuspectList("images.0", 99, 4711, 4711 + 100)


def test_a_plain_kill_with_a_list_in_hand_leaves_nothing(examine, page, run_directory):
    examine(Exit(-signal.SIGKILL), {**page, "hand_end": 4711 + 100})
    assert SuspectLists(run_directory, [NAME]).read() == ()


def test_a_crash_without_a_message_in_hand_leaves_none(examine, page, run_directory):
    assert examine(SEGFAULT, {**page, "hand_source": 0}).message == ""
    assert examine(SEGFAULT, {}).message == ""
    start = examine(SEGFAULT, {**page, "hand_sequence": NO_SEQUENCE})
    assert start.message == "a Start or Stop of images.0"
    assert take_suspect(run_directory, NAME) is None


def test_a_page_that_makes_no_sense_tells_nothing(examine, page, run_directory):
    nonsense = {"hand_source": 99, "phase": 77}
    evidence = examine(SEGFAULT, {**page, **nonsense})
    assert (evidence.message, evidence.phase) == ("", "")
    assert take_suspect(run_directory, NAME) is None


def test_what_was_said_before_there_was_a_log_is_the_reason(examine):
    assert examine(Exit(75), {}, said="integrate.0 runs already").said == "integrate.0 runs already"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"source": 1}'])
def test_a_note_that_makes_no_sense_is_none(run_directory, content):
    run_directory.status_page(NAME).with_name("integrate.0.suspect").write_bytes(content)
    assert take_suspect(run_directory, NAME) is None
