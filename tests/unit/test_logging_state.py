import logging

import pytest
from logging_state import LoggerState, logging_changes, logging_state

ROOT = LoggerState(logging.WARNING, propagate=True, disabled=False, handlers=())
OWN = LoggerState(logging.NOTSET, propagate=True, disabled=False, handlers=())
BEFORE = (0, {"root": ROOT, "arroyo.runner": OWN, "library": OWN})


def changes(disabled=0, **loggers):
    after = {name.replace("_", "."): state for name, state in loggers.items()}
    return logging_changes(BEFORE, (disabled, BEFORE[1] | after))


def test_what_stays_as_it_was_is_no_change():
    assert changes() == []


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"root": ROOT._replace(level=logging.DEBUG)}, "root.level is 10, was 30"),
        ({"root": ROOT._replace(handlers=("H",))}, "root.handlers is ('H',), was ()"),
        ({"arroyo_runner": OWN._replace(disabled=True)}, "arroyo.runner.disabled is True, "),
        ({"library": OWN._replace(propagate=False)}, "library.propagate is False, was True"),
        ({"disabled": logging.ERROR}, "logging.disable(40)"),
    ],
)
def test_what_a_test_has_changed_is_named(after, words):
    (change,) = changes(**after)
    assert change.startswith(words)


def test_a_new_logger_of_a_library_may_be_as_it_likes_but_not_one_of_arroyos():
    silent = OWN._replace(disabled=True)
    assert changes(other=silent, arroyo_new=silent) == ["arroyo.new.disabled is True, was False"]


def test_the_state_is_that_of_the_loggers_there_are_without_pytests_own_handlers(caplog):
    log, handler = logging.getLogger("arroyo.of_this_test"), logging.NullHandler()
    log.addHandler(handler)
    disabled, loggers = logging_state()
    log.removeHandler(handler)
    assert disabled == 0
    assert loggers["arroyo.of_this_test"] == OWN._replace(handlers=("<NullHandler (NOTSET)>",))
    assert caplog.handler in logging.root.handlers
    assert loggers["root"].handlers == ()
