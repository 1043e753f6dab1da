"""What an error says of whose fault it is: exit codes, and what may pass by itself."""

import errno

import pytest

from arroyo import errors
from arroyo.errors import (
    ArroyoError,
    ConfigurationError,
    RefusedError,
    UnavailableError,
    fault_of,
    may_pass,
)


def test_each_error_ends_a_command_with_a_code_of_sysexits():
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.__name__: each.exit_code for each in kinds if issubclass(each, ArroyoError)}
    # 1: only of a program that is nobody's stage class, whose own code would mean something else.
    assert {name for name, code in codes.items() if code == 1} == {"ProgramError"}
    assert set(codes.values()) == {1, 64, 70, 75, 78}
    assert {name for name, code in codes.items() if code == 75} == {
        "AlreadyRunningError",
        "UnavailableError",
    }


def test_several_problems_are_a_line_each():
    error = ConfigurationError("one: no", "two: no")
    assert str(error) == "one: no\ntwo: no"
    assert error.problems == ("one: no", "two: no")


def test_refused_messages_are_counted_and_the_first_is_named():
    error = RefusedError([("a", ValueError("too old")), ("b", ValueError("late"))])
    assert str(error) == "2 messages were refused, the first: too old"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EHOSTUNREACH, "away"),
        OSError(errno.EMFILE, "many"),
    ],
    ids=repr,
)
def test_what_the_outside_causes_may_pass(error):
    assert may_pass(error)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "x"), PermissionError(), ValueError()], ids=repr
)
def test_what_somebody_has_to_mend_does_not_pass(error):
    assert not may_pass(error)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.EACCES, ConfigurationError),
        (errno.ENOENT, ConfigurationError),
    ],
)
def test_a_file_that_can_not_be_used_is_worth_trying_again_or_not(number, kind):
    assert fault_of(OSError(number, "x")) is kind
