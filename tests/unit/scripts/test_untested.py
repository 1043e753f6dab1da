import pytest
from untested import main, untested


@pytest.fixture
def tree(tmp_path):
    """Write files; return the modules without a test."""

    def write(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return list(map(str, untested(tmp_path)))

    write.root = tmp_path
    return write


def test_the_test_of_a_module_has_its_name_and_is_in_its_folder(tree):
    tests = ["tests/unit/config/test_reader.py", "tests/unit/test_clock.py"]
    assert tree("arroyo/config/reader.py", "arroyo/control/reader.py", *tests) == [
        "control/reader.py"
    ]


def test_the_underscore_of_a_private_module_is_left_out(tree):
    assert tree("arroyo/codec/_body.py", "tests/unit/codec/test_body.py") == []


def test_a_test_elsewhere_is_that_of_no_module(tree):
    tests = ["tests/integration/test_nats_session.py", "tests/integration/test_session.py"]
    assert tree("arroyo/connectors/nats/session.py", *tests) == ["connectors/nats/session.py"]


def test_what_makes_up_a_package_needs_no_test(tree):
    assert tree("arroyo/config/__init__.py", "arroyo/__main__.py") == []


def test_a_module_without_a_test_is_named_with_the_test_it_needs(tree, capsys):
    tree("arroyo/codec/_body.py", "arroyo/clock.py", "tests/unit/test_clock.py")
    assert main(tree.root) == 1
    assert capsys.readouterr().out == (
        "arroyo/codec/_body.py has no test of its own; write tests/unit/codec/test_body.py\n"
    )
    tree("tests/unit/codec/test_body.py")
    assert main(tree.root) == 0
