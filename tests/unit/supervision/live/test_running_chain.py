"""The commands that give orders to a chain, while it does not run, or its supervisor dies."""

import os

import pytest
from click.testing import CliRunner

from arroyo.cli.commands import drain, restart, start, stop
from arroyo.clock import SystemClock
from arroyo.control.locks import Lock
from arroyo.errors import UnavailableError
from arroyo.supervision.live.running_chain import RunningChain
from arroyo.supervision.reporting.event_log import EventLog


@pytest.mark.parametrize("command", [drain, restart, start, stop], ids=lambda each: each.__name__)
def test_a_chain_that_does_not_run_takes_no_orders(chain_file, command):
    result = CliRunner().invoke(command.command, [str(chain_file)], catch_exceptions=False)
    assert result.exit_code == 75
    assert result.output == (
        f"error: chain saxs does not run; start it with: arroyo-supervise {chain_file}\n"
    )


def test_a_chain_whose_supervisor_starts_or_ends_may_be_asked_again(chain_directory, chain_file):
    lock = Lock.acquire(chain_directory.lock("supervisor"))
    with pytest.raises(UnavailableError, match="no supervisor answers"):
        RunningChain(str(chain_file)).ask("stop")
    lock.release()
    start = f"start it with: arroyo-supervise {chain_file}"
    with pytest.raises(UnavailableError, match=f"chain saxs does not run; {start}"):
        RunningChain.named("saxs", os.environ).ask("stop")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ["work.0"],
            "work.0 runs by hand or as a unit of systemd, so stop and start it there; or its "
            "supervisor has died, and it ends by itself: arroyo status saxs",
        ),
        (
            ["camera.0", "work.0", "work.1"],
            "camera.0, work.0 and work.1 run by hand or as units of systemd, so stop and start "
            "them there; or their supervisor has died, and they end by themselves: arroyo status",
        ),
    ],
)
def test_stages_by_hand_take_no_orders_and_are_named(chain_directory, chain_file, names, told):
    locks = [Lock.acquire(chain_directory.lock(name)) for name in names]
    result = CliRunner().invoke(stop.command, [str(chain_file)], catch_exceptions=False)
    for lock in locks:
        lock.release()
    assert result.exit_code == 75
    assert told in result.output


def test_a_chain_whose_file_was_spoilt_meanwhile_is_found_by_its_name(chain_directory, chain_file):
    chain_file.write_text("no toml")
    assert RunningChain("saxs").name == "saxs"


def test_the_account_of_this_supervisor_is_found_though_others_came_before(chain_directory):
    log = EventLog(chain_directory.events, "saxs", SystemClock())
    log.note("chain-ended", "chain saxs ended well", exit_code=0)
    account = RunningChain("saxs").wait_for_end(os.getpid())
    assert (account.message, account.exit_code) == ("chain saxs ended well", 0)
    assert RunningChain("saxs").wait_for_end(os.getpid() + 1) is None
    log.close()


class AnsweringChain(RunningChain):
    """A supervisor's answers, one after the other, the last one for ever."""

    def __init__(self, chain, rows):
        super().__init__(chain)
        self.rows = list(rows)

    def ask(self, *_):
        row = self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]
        return {"replicas": [{"replica": "work.0", "reason": None, "stopped_by": "me", **row}]}


@pytest.fixture
def ask(chain_file):
    return lambda *rows: AnsweringChain(str(chain_file), rows).wait_until_stopped(["work.0"])


def test_a_stop_waits_until_there_is_no_process(ask):
    assert ask({"state": "DRAINING"}, {"state": "STOPPED"}) == []


def test_a_death_on_the_way_is_told(ask):
    assert ask({"state": "STOPPED", "reason": "was killed"}) == ["work.0 was killed"]


def test_a_start_by_somebody_else_is_told(ask):
    with pytest.raises(UnavailableError, match="somebody has had it started again meanwhile"):
        ask({"state": "DRAINING"}, {"state": "DRAINING", "stopped_by": None})


# Orders


def test_a_chain_is_found_by_its_name_alone(played):
    chain = RunningChain.named("chain", os.environ)
    assert list(chain.restart("integrate")) == ["integrate.0"]


def test_a_restart_ends_with_the_chain(played):
    chain = RunningChain.named("chain", os.environ)
    former = chain.restart("integrate")
    chain.ask = lambda _: of_integrate("DRAINING", stopping=True)
    with pytest.raises(UnavailableError, match="the chain is being stopped"):
        chain.wait_until_restarted(former, print)


def test_a_restart_goes_on_while_the_chain_only_finishes_its_work(played):
    chain = RunningChain.named("chain", os.environ)
    former = chain.restart("integrate")
    looks = [of_integrate("DRAINING", "integrate.0"), of_integrate("READY")]
    chain.ask = lambda _: looks.pop(0)
    assert chain.wait_until_restarted(former, print).done == ["integrate.0"]


def of_integrate(state, *restarting, stopping=False):
    row = {"replica": "integrate.0", "state": state, "pid": 99, "next_try_s": None, "reason": None}
    told = {"state": "DRAINING", "stopping": stopping}
    return told | {"restarting": restarting, "replicas": [row]}


@pytest.mark.parametrize("command", [restart, start, stop], ids=lambda each: each.__name__)
def test_an_empty_name_of_a_stage_does_not_mean_the_whole_chain(played, command):
    result = CliRunner().invoke(command.command, ["chain", ""], catch_exceptions=False)
    assert result.exit_code == 64
    assert "the name of the stage is empty" in result.stderr


def test_what_was_done_to_the_quarantine_is_noted_in_parts(played):
    RunningChain.named("chain", os.environ).note_quarantine("drop", [f"00{n}" for n in range(150)])
    assert [event for event, *_ in played.noted] == ["drop-ordered"] * 2
    assert played.noted[1][1].endswith("00148, 00149")


def test_a_chain_that_does_not_run_notes_nothing(chain_file):
    RunningChain(str(chain_file)).note_quarantine("drop", ["aa"])
