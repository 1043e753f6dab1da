"""The table of a status; that of chains that run is in `test_status`."""

from collections import defaultdict

from arroyo.supervision.reporting.status_table import notes, status_table


def status_of(*rows, state="READY", quarantined=0, parameters=None):
    return {
        "chain": "saxs",
        "state": state,
        "supervisor": 4711,
        "supervisor_stopped": False,
        "supervisor_answers": True,
        "latency_p50_s": 0.0055,
        "latency_p99_s": 0.122,
        "quarantine": {"messages": quarantined, "bytes": quarantined, "requeued": 0},
        "file_changed": None,
        "parameters": parameters or {},
        "stages": [defaultdict(lambda: None, replica=0, **row) for row in rows],
    }


def test_the_head_tells_who_runs_the_chain_and_how_long_messages_take():
    head = status_table(status_of({"stage": "images"})).splitlines()[0]
    assert head == (
        "chain saxs: READY (supervisor 4711), from source to publisher 5.5 ms, 99 % within 122 ms"
    )


def test_a_supervisor_that_gives_no_answer_is_told_of():
    status = status_of({"stage": "images"}) | {"supervisor_answers": False}
    assert "the supervisor gives no answer: it starts, ends or stands still" in status_table(status)


def test_a_supervisor_that_a_signal_has_stopped_is_told_of_with_the_cure():
    silent = {"supervisor_answers": False, "supervisor_stopped": True}
    said = status_table(status_of({"stage": "images"}) | silent)
    assert "the supervisor is stopped by a signal; kill -CONT 4711 lets it go on; restarts" in said


def test_what_the_life_before_has_lost_is_told_apart():
    assert notes(status_of({"stage": "images", "lost": 70, "lost_before": 69})) == [
        "images.0: 69 of 70 lost by the life before, which had them in hand when it ended; "
        "some may have arrived"
    ]


def test_parameters_that_are_not_as_in_the_chain_file_are_named():
    one = {"value": 7, "file": 5, "by": "pid 1, uid 0"}
    other = {"value": "fast", "file": "fast", "by": None}
    assert notes(status_of(parameters={"fit": {"level": one, "mode": other}})) == [
        "fit: level = 7, set by pid 1, uid 0; 5 in the chain file"
    ]


def test_figures_stand_below_their_titles():
    rows = {"stage": "images", "state": "READY", "received": 1200}, {"stage": "fit", "received": 7}
    _, titles, first, second = status_table(status_of(*rows)).splitlines()
    end = titles.index("received") + len("received")
    assert first[:end].endswith(" 1,200")
    assert second[:end].endswith("     7")


def test_it_is_told_why_a_process_is_down_and_when_it_is_tried_again():
    down = {"stage": "fit", "state": "BACKOFF", "reason": "was killed (SIGKILL)", "next_try_s": 4.0}
    for_good = {"stage": "file", "state": "FAILED", "reason": "exited with 78"}
    well = {"stage": "live", "state": "READY", "reason": "was killed before"}
    assert notes(status_of(down, for_good, well)) == [
        "fit.0 was killed (SIGKILL); next try in 4.0 s",
        "file.0 exited with 78",
    ]


def test_it_is_told_why_a_process_that_runs_can_not_work():
    row = {"stage": "images", "state": "DEGRADED", "reason": "is stopped by a signal"}
    assert notes(status_of(row)) == ["images.0 is stopped by a signal"]


def test_a_stopped_chain_has_no_table_but_its_quarantine_is_told():
    told = status_table(status_of({"stage": "images"}, state="STOPPED", quarantined=1)).splitlines()
    assert told[1:] == [
        "none of its processes runs",
        "1 message in quarantine; see: arroyo quarantine list saxs",
    ]


def test_messages_on_their_way_back_are_told_apart_from_those_that_wait():
    status = status_of(quarantined=3)
    status["quarantine"]["requeued"] = 2
    assert notes(status) == [
        "3 messages in quarantine, 2 of them on the way back; see: arroyo quarantine list saxs"
    ]


def test_what_was_stopped_by_command_says_by_whom():
    by = "a stop command (pid 7, uid 0)"
    stopped = {"stage": "fit", "state": "STOPPED", "stopped_by": by}
    stopping = {"stage": "images", "state": "DRAINING", "stopped_by": by}
    assert notes(status_of(stopped, stopping)) == [
        f"fit.0 is stopped, by {by}",
        f"images.0 is stopping, by {by}",
    ]


def test_of_messages_a_program_has_no_figures():
    stage = {"stage": "fit", "role": "operator", "received": 7, "sent": 7, "restarts": 1}
    program = {"stage": "broker", "role": "program", "received": 0, "sent": 0, "restarts": 1}
    _, titles, _, row = status_table(status_of(stage, program)).splitlines()
    figures = dict(zip(titles.split()[:7], row.split()[:7], strict=True))
    assert figures["restarts"] == "1"
    assert figures["received"] == figures["sent"] == "-"
