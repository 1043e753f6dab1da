import pytest
from untested import main, untested

FUNCTION = "def double(number):\n    return 2 * number\n"


@pytest.fixture
def tree(tmp_path):
    """Write files, of which every module has a function; return those without a test."""

    def write(*paths, content=FUNCTION):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
        return list(untested(tmp_path))

    write.root = tmp_path
    return write


def test_the_test_of_a_module_has_its_name_and_is_in_its_folder(tree):
    tests = ["tests/unit/config/test_reader.py", "tests/unit/test_clock.py"]
    assert tree("arroyo/config/reader.py", "arroyo/control/reader.py", *tests) == [
        "control/reader.py"
    ]


def test_the_underscore_of_a_private_module_is_left_out(tree):
    assert tree("arroyo/codec/_body.py", "tests/unit/codec/test_body.py") == []


def test_a_connector_may_be_tested_where_its_server_is(tree):
    tests = ["tests/integration/test_nats_session.py", "tests/integration/test_session.py"]
    modules = ["arroyo/connectors/nats/session.py", "arroyo/connectors/kafka/session.py"]
    assert tree(*modules, "arroyo/control/session.py", *tests) == [
        "connectors/kafka/session.py",
        "control/session.py",
    ]


def test_what_only_declares_needs_no_test(tree):
    assert tree("arroyo/config/__init__.py") == []
    assert tree("arroyo/codec/names.py", content="class Kind:\n    START = 1\n") == []


def test_an_async_method_is_a_function(tree):
    source = "class Client:\n    async def ask(self):\n        return 1\n"
    assert tree("arroyo/codec/client.py", content=source) == ["codec/client.py"]


def test_a_module_without_a_test_is_named_with_the_test_it_needs(tree, monkeypatch, capsys):
    monkeypatch.setattr("untested.ROOT", tree.root)
    tree("arroyo/codec/_body.py", "arroyo/clock.py", "tests/unit/test_clock.py")
    assert main() == 1
    assert capsys.readouterr().out == (
        "arroyo/codec/_body.py has no test of its own; write tests/unit/codec/test_body.py\n"
    )
    tree("tests/unit/codec/test_body.py")
    assert main() == 0
