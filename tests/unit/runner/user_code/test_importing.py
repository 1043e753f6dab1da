"""What is said where a class of a chain file can't be imported."""

import sys

import pytest

from arroyo import Event
from arroyo.errors import ConfigurationError
from arroyo.runner.user_code.importing import describe, line_of, load_target


@pytest.fixture(autouse=True)
def modules_as_before():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("own", "other")):
            del sys.modules[name]


@pytest.fixture
def problem_of(tmp_path):
    """What is wrong with a class of a module with some content."""

    def find(target="own:Stage", content="", name="own.py"):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigurationError) as caught:
            load_target(target, tmp_path, "stages.x.class")
        return str(caught.value)

    return find


def test_a_class_beside_the_chain_file_is_found(tmp_path):
    (tmp_path / "own.py").write_text("class Stage:\n    class Inner: pass\n")
    assert load_target("own:Stage.Inner", tmp_path, "stages.x.class").__name__ == "Inner"


def test_an_installed_module_comes_before_one_beside_the_chain_file(tmp_path):
    (tmp_path / "json.py").write_text("JSONDecoder = None\n")
    assert load_target("json:JSONDecoder", tmp_path, "stages.x.class") is not None


HIDDEN = "beside the chain file is hidden by Python's own module of that name"


@pytest.mark.parametrize(
    ("target", "name", "content"),
    [
        ("operator:Mine", "operator.py", "class Mine: pass\n"),
        ("operator.deeper:Mine", "operator.py", ""),
        ("own:Stage", "own.py", "from operator import Mine\n"),
    ],
)
def test_a_module_that_another_one_hides_is_to_be_renamed(
    problem_of, tmp_path, target, name, content
):
    (tmp_path / "operator.py").touch()
    found = problem_of(target, content, name)
    assert f"; the operator.py {HIDDEN} (" in found
    assert found.endswith("operator.py): rename yours")


def test_so_is_a_package_and_one_that_an_installed_module_hides(problem_of, tmp_path):
    (tmp_path / "json").mkdir()
    assert f"the json/__init__.py {HIDDEN} (" in problem_of("json:Mine", name="json/__init__.py")
    found = problem_of("pytest:Mine", name="pytest.py")
    assert "pytest.py beside the chain file is hidden by the installed module of that name" in found


def test_nothing_is_hidden_where_the_module_is_the_users_own(problem_of):
    assert "is hidden by" not in problem_of("own:Mine")
    assert "is hidden by" not in problem_of("json:Mine")


def test_a_file_in_place_of_a_module_is_told_without_its_ending(problem_of):
    assert problem_of("own.py:Stage").endswith("; did you mean 'own:Stage'?")


def test_the_module_of_the_chain_before_is_forgotten(tmp_path):
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own.py").write_text(f"number = {number}\n")
        assert load_target("own:number", folder, "stages.x.class") == number


def test_a_missing_module_or_class_is_told_with_what_may_be_meant(problem_of):
    found = problem_of("own_stage:Stage", name="own_stages.py")
    assert found.startswith("stages.x.class: there is no module 'own_stage', neither installed")
    assert "own_stages" in found
    found = problem_of("own:Stag", "class Stage: pass\n")
    assert "has no Stag" in found
    assert "Stage" in found.partition("has no Stag")[2]


def test_a_library_that_a_module_needs_is_told_by_its_name(problem_of):
    found = problem_of(content="import nowhere.at_all\n")
    assert "the module own needs nowhere, which is not installed; try: pip install nowhere" in found


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n1 / 0\n", "(own.py, line 2): ZeroDivisionError: division by zero"),
        ("\n\ndef (\n", "(own.py, line 3): SyntaxError"),
        ("import sys\nsys.exit(3)\n", "(own.py, line 2): SystemExit: 3"),
    ],
)
def test_what_an_import_raises_is_told_with_its_line(problem_of, content, told):
    assert f"importing own failed {told}" in problem_of(content=content)


def test_the_line_is_the_users_though_our_code_raised(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(ValueError, match="no array") as caught:
        _ = Event({}, b"123", "<u2", (7,)).array
    assert line_of(caught.value, elsewhere).startswith(" (test_importing.py, line ")


def test_an_error_is_named_in_one_line():
    assert describe(ValueError("two\n  lines")) == "ValueError: two lines"
