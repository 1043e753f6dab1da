import errno

import pytest

from arroyo.errors import ConfigurationError, UnavailableError, fault_of, may_pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ESTALE])
def test_what_passes_by_itself_is_worth_trying_again(number):
    assert fault_of(OSError(number, "")) is UnavailableError
    assert may_pass(OSError(number, ""))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EROFS])
def test_what_only_people_can_mend_is_a_matter_of_configuration(number):
    assert fault_of(OSError(number, "")) is ConfigurationError
    assert not may_pass(OSError(number, ""))


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), TimeoutError(), OSError(errno.EHOSTUNREACH, "")],
)
def test_a_server_that_is_away_may_come_back(error):
    assert may_pass(error)


def test_an_error_of_users_code_does_not_pass():
    assert not may_pass(ValueError("no"))


def test_several_mistakes_of_a_chain_file_are_one_error_and_a_line_each():
    error = ConfigurationError("a is wrong", "b is wrong")
    assert str(error) == "a is wrong\nb is wrong"
    assert list(error.problems) == ["a is wrong", "b is wrong"]
