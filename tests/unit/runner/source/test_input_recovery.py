"""Which recovery a source has, by what its listener says of its input."""

from types import SimpleNamespace

import pytest
from stage_fakes import ScriptedContext, line_of

from arroyo.errors import ConfigurationError
from arroyo.runner.source.input_recovery import make_recovery
from arroyo.runner.source.replayable_input import ReplayableInput
from arroyo.runner.source.volatile_input import VolatileInput


@pytest.fixture
def recovery_of(tmp_path):
    made = []

    def make(listener, *, state=True, **keys):
        source = ("listener", "src", "own:Src", keys)
        chain = line_of(tmp_path, source, ("publisher", "sink", "own:Sink", {}))
        context = ScriptedContext(chain, "src", lambda action: ())
        context.runs.close()
        made.append(context.__exit__)
        if not state:
            context.state = None
        window = SimpleNamespace(runs=SimpleNamespace(early_stop=lambda reason: None))
        recovery = make_recovery(context, listener, window)
        made.append(recovery.close)
        return recovery

    yield make
    for close in reversed(made):
        close()


def listener(**says):
    return SimpleNamespace(**says)


@pytest.mark.parametrize("redelivers", [False, True])
def test_of_any_input_the_open_runs_are_kept(recovery_of, redelivers):
    recovery = recovery_of(listener(redelivers=redelivers))
    assert isinstance(recovery, VolatileInput)
    assert (recovery.comes_again, recovery.resumes) == (redelivers, False)


def test_of_one_that_can_be_read_again_a_journal_is_kept_and_the_listener_has_its_folder(
    recovery_of, tmp_path
):
    made = listener(replayable=True)
    recovery = recovery_of(made)
    assert isinstance(recovery, ReplayableInput)
    assert (recovery.comes_again, recovery.resumes) == (True, True)
    assert made.state_directory.is_relative_to(tmp_path)


def test_without_a_state_directory_nothing_resumes(recovery_of):
    made = listener(replayable=True)
    recovery = recovery_of(made, state=False)
    assert isinstance(recovery, VolatileInput)
    assert not recovery.comes_again
    assert not hasattr(made, "state_directory")


@pytest.mark.parametrize("state", [False, True])
def test_best_effort_is_a_mistake_where_nothing_need_be_lost(recovery_of, state):
    with pytest.raises(ConfigurationError, match=r"stages\.src\.delivery"):
        recovery_of(listener(replayable=True), state=state, delivery="best-effort")
