"""Kafka servers in words: what they are told, and whose fault an error is."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from arroyo import ConfigurationError, UnavailableError
from arroyo.connectors.kafka import client
from arroyo.connectors.kafka.client import Servers


def servers(named="one:9092", security=None, password_env=None):
    return Servers("Test", named, security, password_env)


class Client:
    """Lists topics, after the errors that it was made with."""

    def __init__(self, *errors, topics=()):
        self.errors = list(errors)
        self.topics = {name: SimpleNamespace(error=None) for name in topics}
        self.polled = []
        self.at_poll = lambda: None

    def list_topics(self, timeout):
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        return SimpleNamespace(topics=self.topics)

    def poll(self, timeout):
        self.polled.append(timeout)
        self.at_poll()


@pytest.mark.parametrize(
    "named", ["one:9092,two:9093", " one:9092 , two:9093", ["one:9092", "two:9093"]]
)
def test_addresses_are_a_text_or_a_list(named):
    assert servers(named).address == "one:9092,two:9093"


@pytest.mark.parametrize("named", ["", [], "one", "one:", ":9092", "one:0", "one:70000", "one:x"])
def test_what_is_no_address_is_refused(named):
    with pytest.raises(ConfigurationError, match="Test: servers"):
        servers(named)


def test_the_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "sesame")
    security = {"security.protocol": "SASL_SSL", "sasl.username": "daq"}
    settings = servers(security=security, password_env="KAFKA_PASSWORD").settings()
    assert settings["sasl.password"] == "sesame"
    assert settings["sasl.username"] == "daq"
    assert settings["bootstrap.servers"] == "one:9092"


def test_other_settings_are_not_passed_on():
    with pytest.raises(ConfigurationError, match=r"security.'acks' is none of Kafka's settings"):
        servers(security={"acks": "0"})


def test_what_librdkafka_refuses_is_told_without_secrets():
    def refuse(settings):
        raise KafkaException(
            KafkaError(KafkaError._INVALID_ARG, f"not {settings['sasl.password']}")
        )

    with pytest.raises(ConfigurationError, match=r"can't be used: not \*\*\*"):
        servers(security={"sasl.password": "sesame"}).make(refuse, {})


def test_a_topic_that_is_not_there_is_named():
    servers().require_topics(Client(topics=["det"]), ["det"])
    with pytest.raises(UnavailableError, match="no topic 'curves'"):
        servers().require_topics(Client(topics=["det"]), ["det", "curves"])


def test_servers_that_answer_a_little_later_are_waited_for():
    asked = Client(KafkaError._TRANSPORT, KafkaError._TRANSPORT, topics=["det"])
    servers().require_topics(asked, ["det"])
    assert asked.polled == [0, 0]


def test_servers_that_do_not_answer_are_away(monkeypatch):
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.0)
    with pytest.raises(UnavailableError, match=r"can't be reached \(none of them answers"):
        servers().require_topics(Client(KafkaError._TRANSPORT), [])


def test_a_refused_password_ends_the_wait_at_once():
    made = servers()
    asked = Client(*[KafkaError._TRANSPORT] * 100)
    asked.at_poll = lambda: made._note(KafkaError(KafkaError._AUTHENTICATION))
    with pytest.raises(ConfigurationError, match="refuse the user or the password"):
        made.require_topics(asked, [])
    assert asked.polled == [0]


def test_servers_are_away_until_one_answers(caplog):
    made = servers()
    for _ in range(2):
        made._note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert made.is_away
    assert made.away_s >= 0.0
    made.note_answer()
    assert not made.is_away
    assert made.away_s == 0.0
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "there again" in caplog.text


def test_a_producer_that_can_not_go_on_is_noted():
    made = servers()
    made._note(KafkaError(KafkaError._FATAL, "out of order", fatal=True))
    assert made.is_dead


@pytest.mark.parametrize(
    ("code", "topic", "kind", "words"),
    [
        (KafkaError.SASL_AUTHENTICATION_FAILED, "", ConfigurationError, "refuse the user"),
        (KafkaError._SSL, "", ConfigurationError, "TLS with the Kafka servers at one:9092 fails"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "det", UnavailableError, "have no topic 'det'"),
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "det",
            ConfigurationError,
            "to use the topic 'det'",
        ),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "", ConfigurationError, "don't permit it"),
        (KafkaError._RESOLVE, "", UnavailableError, "not known; mend servers"),
        (KafkaError._TIMED_OUT, "", UnavailableError, "can't be reached (no answer in time)"),
        (KafkaError.KAFKA_STORAGE_ERROR, "det", UnavailableError, "'det' takes nothing now"),
        (KafkaError.KAFKA_STORAGE_ERROR, "", UnavailableError, "can't do what they were asked"),
    ],
)
def test_an_error_says_whose_fault_it_is_and_what_to_do(code, topic, kind, words):
    said = servers().explain(KafkaError(code), topic)
    assert type(said) is kind
    assert words in str(said)
