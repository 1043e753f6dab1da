from arroyo.telemetry.status_words import FIELDS, Phase, phase_times_ns


def page(phase, since_ns, **spent_ns):
    words = dict.fromkeys(FIELDS, 0) | {f"spent_{name}_ns": ns for name, ns in spent_ns.items()}
    return words | {"phase": phase, "phase_since_ns": since_ns}


def test_the_present_phase_counts_until_now():
    times = phase_times_ns(page(Phase.IDLE, 900, idle=50, blocked=70), 1000)
    assert {phase: ns for phase, ns in times.items() if ns} == {Phase.IDLE: 150, Phase.BLOCKED: 70}


def test_a_phase_that_began_after_the_look_at_the_clock_takes_nothing_away():
    assert phase_times_ns(page(Phase.PROCESS, 1001, process=7), 1000)[Phase.PROCESS] == 7
