import pytest

from arroyo.connectors.nats.session import NATSSession
from arroyo.errors import ConfigurationError


@pytest.mark.parametrize(
    "login", [{"user": "chain", "password_env": "NO_SUCH"}, {"token_env": "NO_SUCH"}]
)
def test_a_secret_that_is_not_set_is_named(login):
    secrets = {"user": None, "password_env": None, "token_env": None, **login}
    session = NATSSession("Test", "nats://127.0.0.1:4222", **secrets)
    with pytest.raises(ConfigurationError, match="NO_SUCH, which is not set"):
        session.open()


def test_a_session_that_was_not_opened_is_closed():
    session = NATSSession(
        "Test", "nats://127.0.0.1:4222", user=None, password_env=None, token_env=None
    )
    assert not session.is_connected
    session.close()
