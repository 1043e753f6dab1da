import contextlib
import os

import pytest
from played_supervisor import silent_supervisor

from arroyo.config.folders import Folders
from arroyo.config.reader import load_chain
from arroyo.control.accepted_chain import FileChanges, load_accepted
from arroyo.errors import ConfigurationError, UsageError

CHAIN = """
[chain]
name = "${NAME:-powder}"
[stages.images]
listener = "module:Class"
replicas = 2
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


@pytest.fixture
def run(file):
    """Have this process play the supervisor that has started the chain of the file."""
    with contextlib.ExitStack() as running:

        def play(**variables):
            running.enter_context(silent_supervisor(file, {**os.environ, **variables}))

        play.end = running.close
        yield play


@pytest.fixture
def load(file):
    return lambda path=file, **variables: load_accepted(path, {**os.environ, **variables})


def edit(file, before, after):
    file.write_text(file.read_text().replace(before, after))


def replicas(chain):
    return chain.stages["images"].replicas


def test_a_running_chain_is_as_it_was_accepted_whatever_its_file_says_now(file, run, load):
    run()
    edit(file, "= 2", "= 3")
    assert replicas(load()) == 2
    file.write_text("no toml")
    assert replicas(load()) == 2
    assert load().path == file
    run.end()
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load()
    file.write_text(CHAIN.replace("= 2", "= 3"))
    assert replicas(load()) == 3


def test_a_chain_that_never_ran_is_as_its_file_has_it(load):
    assert replicas(load()) == 2


def test_a_file_that_has_another_name_by_now_is_still_the_chain_that_runs_from_it(file, run, load):
    run()
    edit(file, "powder", "other")
    assert load().name == "powder"


def test_a_file_that_was_removed_is_still_the_chain_that_runs_from_it(file, run, load):
    run()
    file.unlink()
    assert load().name == "powder"


def test_a_file_is_found_by_any_path_to_it(file, run, load, tmp_path):
    run()
    edit(file, "= 2", "= 3")
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    assert replicas(load(link)) == 2
    assert replicas(load(tmp_path / "run" / ".." / "chain.toml")) == 2


def test_another_file_of_the_same_name_is_refused_while_that_chain_runs(file, run, load, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(CHAIN.replace("= 2", "= 3"))
    run()
    with pytest.raises(UsageError) as refused:
        load(other)
    assert str(refused.value) == (
        f'{other}: a chain of the same name, "powder", runs from {file}; to mean that one, give '
        "its name (powder) or that file, else give this one another name"
    )
    assert replicas(load()) == 2
    run.end()
    assert replicas(load(other)) == 3


def test_a_file_that_stands_for_several_chains_is_the_one_that_its_variables_say(file, run, load):
    run(NAME="first")
    edit(file, "= 2", "= 3")
    run(NAME="second")
    edit(file, "= 3", "= 4")
    found = [load(NAME=name) for name in ("first", "second", "third")]
    assert [(chain.name, replicas(chain)) for chain in found] == [
        *(("first", 2), ("second", 3), ("third", 4))
    ]


def test_a_chain_of_which_nothing_is_accepted_yet_is_as_its_file_has_it(run, load):
    run()
    os.unlink(Folders.locate("powder", os.environ).run.accepted)
    assert replicas(load()) == 2


def test_changes_of_a_file_are_told_while_there_are_any(file):
    changes = FileChanges(load_chain(file, os.environ), os.environ)
    assert changes.say() is None
    edit(file, "[chain]", "# a comment\n[chain]")
    assert changes.say() is None, "it means the same"
    edit(file, "= 2", "= 3")
    assert changes.say() == "chain.toml has changed since; to apply it: arroyo reload powder"
    edit(file, "= 3", "= -3")
    assert changes.say().startswith("chain.toml has changed since, and has mistakes: ")
    assert f"{file}:7: stages.images.replicas" in changes.say()
    file.unlink()
    assert changes.say() == f"{file}: the chain file can't be read: No such file or directory"
    file.write_text(CHAIN)
    assert changes.say() is None
