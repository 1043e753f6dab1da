import json
import os

import msgspec
import pytest
from invoked import run_by
from quarantine_entries import make_entry

from arroyo.cli.commands.quarantine import command
from arroyo.codec import MessageCodec
from arroyo.config.state_directory import StateDirectory
from arroyo.messages import Event
from arroyo.runner.quarantine.store import Quarantine


@pytest.fixture
def store():
    state = StateDirectory.locate("saxs", os.environ)
    state.create()
    store = Quarantine(state.quarantine)
    for number in ("aa", "bb"):
        put(store, number)
    return store


def put(store, number, **changes):
    packed = MessageCodec(()).pack(Event({"name": number}, b"1234", "<u2", (2,)))
    entry = make_entry(number, stack="Traceback\n  it was here\n")
    store.put(msgspec.structs.replace(entry, **changes), packed)


run = run_by(command)


def test_a_list_for_people_names_message_stage_and_reason(store):
    text = run("list", "saxs")
    assert "aa" in text
    assert "work.0" in text
    assert "src.0/run/bb: raised ValueError: no beam" in text


def test_a_folder_of_the_chain_s_name_is_not_in_its_way(store, tmp_path, monkeypatch):
    (tmp_path / "saxs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "src.0/run/bb" in run("list", "saxs")


def test_a_list_for_programs_says_what_is_on_its_way_back(store):
    run("requeue", "saxs", "bb")
    rows = json.loads(run("list", "saxs", "--json"))
    assert [(row["id"], row["state"]) for row in rows] == [
        ("aa", "quarantined"),
        ("bb", "requeued"),
    ]


def test_a_message_is_shown_with_metadata_payload_reason_and_stack(store):
    text = run("show", "saxs", "aa")
    for words in ('metadata: {"name": "aa"}', "payload bytes: 4", "dtype: <u2", "it was here"):
        assert words in text
    (shown,) = json.loads(run("show", "saxs", "aa", "--json"))
    assert (shown["shape"], shown["metadata"]) == ([2], {"name": "aa"})


def test_fields_that_json_can_not_hold_are_shown_as_python_writes_them(store):
    packed = msgspec.msgpack.encode(["Reading", msgspec.msgpack.Ext(5, b"x"), {(1, 2): 3}])
    store.put(make_entry("cc", type="Reading"), packed)
    assert "Ext object" in run("show", "saxs", "cc")
    (shown,) = json.loads(run("show", "saxs", "cc", "--json"))
    assert {"(1, 2)": 3} in shown["fields"]


def test_what_is_dropped_is_gone(store):
    run("drop", "saxs", "--all")
    assert store.entries() == []
    assert "the quarantine is empty" in run("list", "saxs")


def test_what_is_on_its_way_back_is_dropped_by_its_id_alone_and_the_command_says_so(store):
    run("requeue", "saxs", "bb")
    assert run("drop", "saxs", "--all").splitlines() == [
        "aa (src.0/run/aa) is dropped",
        "not dropped: 1 message on the way back (bb), as somebody has requeued it; "
        "to drop it all the same: arroyo quarantine drop saxs ID...",
    ]
    assert "not dropped: 1 message on the way back (bb)" in run("drop", "saxs", "--all")
    text = run("drop", "saxs", "--stage", "work", code=64)
    assert "the messages of stage work are all on their way back (1); name their IDs" in text
    assert "not shown: 1 message on the way back (bb)" in run("show", "saxs", "--all")
    assert run("requeue", "saxs", "--all") == "already requeued: 1 message on the way back (bb)\n"
    assert "bb (src.0/run/bb) is dropped" in run("drop", "saxs", "bb")
    for verb in ("show", "drop", "requeue"):
        assert run(verb, "saxs", "--all") == "the quarantine is empty\n"


def test_all_messages_of_a_stage_are_sent_again(store):
    put(store, "cc", stage="other")
    run("requeue", "saxs", "--stage", "work")
    assert [entry.id for entry in store.entries()] == ["cc"]
    assert sorted(entry.id for entry in store.requeued()) == ["aa", "bb"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drop", "saxs"), "or --all"),
        (("drop", "saxs", "aa", "--all"), "or --all"),
        (("drop", "saxs", "--all", "--stage", "work"), "or --all"),
        (("drop", "saxs", "--stage", "wrok"), "no message of a stage 'wrok'"),
        (("show", "saxs", "cc"), "no message 'cc'"),
    ],
)
def test_a_mistake_is_one_sentence(store, arguments, words):
    text = run(*arguments, code=64)
    assert words in text
    assert "Traceback" not in text


def test_frames_that_could_not_be_read_are_not_sent_again(store):
    put(store, "cc", type="")
    assert "could not be read" in run("requeue", "saxs", "cc", code=64)


# Export


def test_a_message_is_exported_to_the_file_that_is_named(store, tmp_path):
    text = run("export", "saxs", "aa", str(tmp_path / "one.json"))
    assert f"aa (src.0/run/aa) is in {tmp_path / 'one.json'}" in text
    assert json.loads((tmp_path / "one.json").read_text())["metadata"] == {"name": "aa"}


def test_an_export_that_can_not_be_made_is_one_sentence(store, tmp_path):
    assert "none of the suffixes" in run("export", "saxs", "aa", str(tmp_path / "a.txt"), code=64)
    assert "no message 'zz'" in run("export", "saxs", "zz", str(tmp_path / "one.npy"), code=64)


# What the chain can't take back

CHAIN = """
[chain]
name = "saxs"
[stages.src]
listener = "own:Listen"
[stages.work]
operator = "own:Work"
inputs = ["src"]
[stages.out]
publisher = "own:Out"
inputs = ["work"]
"""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("src", "images", "its source src.0 is not in the chain any more, which has images.0"),
        ("work", "reduce", "it goes into stage work, but below src the chain has reduce, out"),
    ],
)
def test_a_message_whose_stage_has_another_name_stays_and_the_command_says_so(
    store, tmp_path, before, after, words
):
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN.replace(before, after))
    text = run("requeue", str(path), "aa", code=64)
    assert "aa (src.0/run/aa) stays in quarantine" in text
    assert words in text
    path.write_text(CHAIN)
    run("requeue", str(path), "aa")
    assert [entry.id for entry in store.requeued()] == ["aa"]


def test_those_that_can_go_back_do_though_others_can_not(store, tmp_path):
    put(store, "cc", enters="gone")
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    assert "cc (src.0/run/aa)" not in run("requeue", str(path), "--all", code=64)
    assert sorted(entry.id for entry in store.requeued()) == ["aa", "bb"]
    assert [entry.id for entry in store.entries()] == ["cc"]


def test_a_message_whose_class_has_changed_stays_and_the_command_says_so(store, tmp_path):
    store.put(make_entry("cc", type="Reading"), msgspec.msgpack.encode(["Reading", "five"]))
    (tmp_path / "own_readings.py").write_text(
        "from arroyo import Message\nclass Reading(Message):\n    index: int\n"
    )
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN.replace("[chain]", '[chain]\nmessages = ["own_readings:Reading"]'))
    text = run("requeue", str(path), "cc", code=64)
    assert "a Reading is not as declared: index: expected int, got str" in text
