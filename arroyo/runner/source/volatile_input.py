"""`VolatileInput`: keeps which runs of an input that can't be read again are open.

The next life of the source gives those that are left a Stop (`close_former_runs`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from arroyo.identifiers import new_epoch, new_run
from arroyo.messages import Stop
from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns, UnclosedRun
from arroyo.protocol.values.actions import Action, Persist
from arroyo.protocol.values.run_totals import with_totals
from arroyo.runner.assembly.sources import make_source
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.process.stage_context import StageContext

from .input_recovery import InputRecovery

_log = logging.getLogger(__name__)


class VolatileInput(InputRecovery):
    """The recovery of such an input, of which nothing goes on: what comes is new.

    `comes_again`: whether the outside hands over again what is not finished, as new messages.
    """

    resumes = False

    def __init__(self, replica: StageContext, window: InputWindow, *, comes_again: bool) -> None:
        self.comes_again = comes_again
        self._replica = replica
        self._window = window
        self._next, self._frontier = map(replica.page.word, ("next", "frontier"))
        self._controls = replica.page.word("controls")
        self._open_run = ""
        self._failed = False
        self.source = make_source(
            replica.chain,
            replica.name,
            epoch=new_epoch(),
            incarnation=replica.incarnation,
            new_run=new_run,
            make_early_stop=window.runs.early_stop,
            history=replica.history,
        )

    def note_open(self) -> None:
        """Tell whose counts are on the status page."""
        self._replica.page.set("epoch", self.source.epoch)

    def close_former(self, now: float) -> list[Action]:
        """Tell the stages below what became of the runs that the lives before have left."""
        noted = self._replica.runs
        if noted is None or not noted.former:
            return []
        runs = close_former_runs(noted.former, self._replica, comes_again=self.comes_again)
        return self.source.begin(now, runs)

    def keep(self, action: Persist) -> None:
        """Note counts on the status page, where the next life finds them, and runs in a file."""
        if isinstance(action, NoteCounts):
            self._next[0], self._frontier[0] = action.next, action.frontier
            self._controls[0] = action.controls
        else:
            assert isinstance(action, NoteRuns)
            self._note_runs(action.runs)

    def close(self) -> None:
        """Do nothing: page and file are the replica's."""

    def _note_runs(self, runs: Sequence[UnclosedRun]) -> None:
        found = runs[-1].run if runs and runs[-1].next is None else ""
        if found and found != self._open_run:
            self._window.look_for_end()
        self._open_run = found
        if self._replica.runs is None or self._replica.state is None:
            return
        try:
            self._replica.runs.note(runs)
        except OSError as error:
            # What the listener has can't be had again: better no note than no source.
            if not self._failed:
                _log.warning(
                    "the runs of this source can't be noted: %s; should it die, nobody hears the "
                    "end of the one that is open. Make room on the disk of %s",
                    error.strerror,
                    self._replica.state.former_runs(self._replica.name).parent,
                )
            self._failed = True


def close_former_runs(
    former: Sequence[UnclosedRun], replica: StageContext, *, comes_again: bool
) -> list[UnclosedRun]:
    """Return the runs that have a Stop now, and say in the log and on the page what was lost.

    `comes_again`: the outside hands over again what was not finished, in another run.
    """
    for run in former:
        if run.stop is None and comes_again:
            _log.info("what the life before had not finished comes again in another run")
        elif run.stop is None:
            replica.page.add("lost_before", run.lost)
            replica.page.add("unseen_before", run.unseen)
            _tell_loss(run)
    closed = [_close(run, replica, comes_again=comes_again) for run in former]
    return [run for run in closed if run.stop is not None]


def _close(run: UnclosedRun, replica: StageContext, *, comes_again: bool) -> UnclosedRun:
    """Make the Stop of a run that had a Start and has none yet."""
    if run.stop is not None or run.start is None:
        return run
    reason = "the source died in mid-run"
    if run.next is None:
        reason += ", and how much it had sent was lost with the run directory"
    totals = run.totals
    if comes_again:
        reason += "; what was not finished comes again in another run"
        totals.lost = totals.lost_at_most = 0
    stop = replica.codec.encode(with_totals(Stop({"reason": reason}), totals))
    return msgspec.structs.replace(run, stop=stop, next=run.base if run.next is None else run.next)


def _tell_loss(run: UnclosedRun) -> None:
    if run.next is None:
        _log.warning(
            "the life before died in run %s; how much it had sent was lost with the run directory",
            run.run or "(none)",
        )
    if run.in_flight:
        first = run.sent_finished
        _log.warning(
            "the life before ended with up to %d messages in flight that never arrived: of those "
            "from %d to %d of run %s",
            run.in_flight,
            first,
            run.sent - 1,
            run.run or "(none)",
        )
    if run.unsent or run.unseen:
        _log.warning(
            "the life before died with %d messages that had not left, or up to %d, of run %s",
            run.unsent,
            run.unsent + run.unseen,
            run.run or "(none)",
        )
