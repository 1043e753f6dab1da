"""Where a chain keeps its things when nobody has said where: as each account finds it."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from accounts import ORDINARY, OTHER
from chains import wait_until

ROOT = 0
QUARANTINED = 65
STAGES = """
from arroyo import Event, IteratingListener, Operator, Publisher


class Numbers(IteratingListener):
    def messages(self):
        yield from (Event({"index": index}) for index in range(5))


class Touchy(Operator):
    def process(self, message):
        if isinstance(message, Event) and message.metadata.get("index") == 3:
            raise ValueError("no sense in 3")
        return message


class Write(Publisher):
    def publish(self, message):
        if isinstance(message, Event):
            with open("out", "a") as file:
                print(message.metadata.get("index", message.metadata.get("filename")), file=file)
"""
TOUCHY = """
[chain]
name = "{name}"
[stages.numbers]
listener = "places_stages:Numbers"
[stages.touchy]
operator = "places_stages:Touchy"
inputs = ["numbers"]
[stages.write]
publisher = "places_stages:Write"
inputs = ["touchy"]
"""
FILES = """
[chain]
name = "{name}"
[stages.files]
listener = "arroyo.connectors.directory_watch:DirectoryListener"
options = {{ directory = "files", settle_s = 0.1, poll_s = 0.05 {idle} }}
[stages.write]
publisher = "places_stages:Write"
inputs = ["files"]
"""
ENDLESS = FILES.replace("{idle}", "")
FINITE = FILES.replace("{idle}", ", stop_after_idle_s = 0.3")
NAME = f"places-{os.getpid()}"


@pytest.fixture(params=[ROOT, ORDINARY], ids=["root", "ordinary"])
def anybody(request, account):
    made = account(request.param)
    yield made
    for place in made.places(NAME):
        shutil.rmtree(place, ignore_errors=True)


def write_chain(account, text, folder="chain", name=NAME):
    account.write(f"{folder}/places_stages.py", STAGES)
    return account.write(f"{folder}/chain.toml", text.format(name=name))


def written(path):
    out = path.parent / "out"
    return out.read_text().split() if out.exists() else []


def start_endless(account, **environ):
    """Start a chain that goes on, and wait until it works."""
    path = write_chain(account, ENDLESS)
    account.write("chain/files/first", "1")
    account.start("arroyo-supervise", path, **environ)
    wait_until(lambda: written(path) == ["first"])
    return path


def test_a_chain_runs_in_its_default_places(anybody):
    path = write_chain(anybody, TOUCHY)
    anybody.run("arroyo", "check", path)
    anybody.run("arroyo-supervise", path, code=QUARANTINED)
    for place in anybody.places(NAME):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert place.stat().st_uid == anybody.uid
    assert written(path) == ["0", "1", "2", "4"]


def test_what_is_in_quarantine_is_found_after_the_run_directory_is_gone(anybody):
    path = write_chain(anybody, TOUCHY)
    anybody.run("arroyo-supervise", path, code=QUARANTINED)
    shutil.rmtree(anybody.places(NAME)[0])
    for chain in (path, NAME):
        (entry,) = json.loads(anybody.run("arroyo", "quarantine", "list", chain, "--json"))
        assert entry["reason"] == "raised ValueError: no sense in 3"


def test_a_directory_is_not_handed_over_again_after_the_run_directory_is_gone(anybody):
    path = write_chain(anybody, FINITE)
    anybody.write("chain/files/first", "1")
    anybody.run("arroyo-supervise", path)
    shutil.rmtree(anybody.places(NAME)[0])
    anybody.write("chain/files/second", "2")
    anybody.run("arroyo-supervise", path)
    assert written(path) == ["first", "second"]


def test_a_run_directory_with_a_long_name_is_as_good_as_any(account):
    user = account(ORDINARY)
    folder = user.home / ("x" * 100)
    path = write_chain(user, TOUCHY)
    user.run("arroyo-supervise", path, code=QUARANTINED, ARROYO_RUN_DIR=str(folder))
    assert written(path) == ["0", "1", "2", "4"]
    assert not Path(f"/tmp/arroyo-{ORDINARY}").exists()


def test_a_refused_start_leaves_the_note_of_the_chain_that_runs(account):
    user = account(ORDINARY)
    path = start_endless(user)
    other = write_chain(user, TOUCHY, folder="another")
    assert "already running" in user.run("arroyo-supervise", other, code=75)
    status = json.loads(user.run("arroyo", "status", NAME, "--json"))
    assert {row["stage"] for row in status["stages"]} == {"files", "write"}
    assert written(path) == ["first"]


def test_chains_of_one_parent_do_not_share_their_quarantine(account):
    user = account(ORDINARY)
    parents = {"ARROYO_RUN_DIR": str(user.home / "r"), "ARROYO_STATE_DIR": str(user.home / "s")}
    for name in ("one", "two"):
        path = write_chain(user, TOUCHY, folder=name, name=name)
        user.run("arroyo-supervise", path, code=QUARANTINED, **parents)
        listed = user.run("arroyo", "quarantine", "list", path, "--json", **parents)
        assert len(json.loads(listed)) == 1


def test_a_command_asks_where_the_chain_runs_whatever_its_own_environment_is(account):
    user = account(ORDINARY)
    state = user.home / "state"
    path = write_chain(user, TOUCHY)
    user.run("arroyo-supervise", path, code=QUARANTINED, ARROYO_STATE_DIR=str(state))
    assert len(json.loads(user.run("arroyo", "quarantine", "list", NAME, "--json"))) == 1
    assert (state / NAME / "quarantine").is_dir()


def test_a_source_that_was_renamed_says_that_it_begins_anew_and_goes_on_as_it_is_told(account):
    user = account(ORDINARY)
    path = write_chain(user, FINITE)
    user.write("chain/files/first", "1")
    user.run("arroyo-supervise", path)
    renamed = FINITE.replace("[stages.files]", "[stages.images]")
    write_chain(user, renamed.replace('inputs = ["files"]', 'inputs = ["images"]'))
    sources = user.places(NAME)[1] / "source"
    said = user.run("arroyo-supervise", path)
    assert f"warning: {sources / 'files.0'} is the journal of files.0, which chain {NAME}" in said
    assert written(path) == ["first", "first"]
    shutil.rmtree(sources / "images.0")
    (sources / "files.0").rename(sources / "images.0")
    assert "warning" not in user.run("arroyo-supervise", path)
    assert written(path) == ["first", "first"]


@pytest.mark.parametrize("content", [b"", bytes(64)], ids=["empty", "zeroed"])
def test_a_chain_starts_with_journals_that_a_power_cut_has_spoilt(account, content):
    user = account(ORDINARY)
    path = write_chain(user, FINITE)
    user.write("chain/files/first", "1")
    user.run("arroyo-supervise", path)
    run, state = user.places(NAME)
    journals = [file for file in (state / "source" / "files.0").iterdir() if file.is_file()]
    assert len(journals) == 2
    for journal in journals:
        journal.write_bytes(content)
    user.run("arroyo-supervise", path)
    log = (run / "log" / "files.0.jsonl").read_text()
    for journal in journals:
        assert f"is now {journal.name}.broken-1" in log
    assert written(path) == ["first", "first"]


@pytest.mark.parametrize("parent", ["", "/shared"], ids=["default", "shared parent"])
def test_another_account_is_told_that_it_cannot_see_the_chain(account, parent):
    user, other = account(ORDINARY), account(OTHER)
    environ = {"ARROYO_RUN_DIR": str(user.home) + parent} if parent else {}
    path = start_endless(user, **environ)
    chains = [path, NAME] if parent else [path]
    for chain in chains:
        said = other.run("arroyo", "status", chain, code=64, **environ)
        assert f"can't see chain {NAME}" in said
        assert f"({ORDINARY})" in said
        assert "STOPPED" not in said


def test_root_is_told_who_runs_the_chain(account):
    user = account(ORDINARY)
    path = start_endless(user)
    said = account(ROOT).run("arroyo", "status", path, code=64)
    assert f"user nobody ({ORDINARY}) runs it, with the run directory {user.home}" in said


def test_one_does_see_ones_own_chain_beside_that_of_the_units(account):
    user, service = account(ORDINARY), Path("/run/arroyo", NAME)
    path = write_chain(user, TOUCHY)
    service.mkdir(mode=0o700, parents=True)
    try:
        said = user.run("arroyo", "status", path, code=64)
        assert f"the run directory {service} belongs to user root (0); ask as that user" in said
        user.run("arroyo-supervise", path, code=QUARANTINED)
        assert "STOPPED" in user.run("arroyo", "status", path)
    finally:
        service.rmdir()
