"""A directory through a chain whose processes are killed, the source among them: each file once."""

import os
import random
import signal

import h5py
import numpy as np
from chains import kill, operator, publisher, wait_until

FILES = 200
NAMES = [f"{number:04}.npy" for number in range(FILES)]
KEYS = "[supervisor]\nmax_restarts = 100\nchain_max_restarts = 100\n"
SOON = 'backoff_s = "10 ms"'
WATCH = """
[stages.images]
listener = "arroyo.connectors.directory_watch:DirectoryListener"
window = 30
backoff_s = "10 ms"
options = {{ directory = "images", settle_s = 0, poll_s = 0.05{} }}
"""


def write_images(folder, names=NAMES):
    """Write arrays of three times the number of the file, in the order of their names."""
    (folder / "images").mkdir(exist_ok=True)
    for name in names:
        number = int(name[:4])
        path = folder / "images" / name
        with path.with_name("." + name).open("wb") as file:
            np.save(file, np.full(3, number, "int32"))
        path.with_name("." + name).rename(path)
        os.utime(path, (1_000_000 + number, 1_000_000 + number))


def files_by_key(lines):
    """File of each event by its key; a key that stands for two files fails."""
    found = {}
    for line in lines:
        if line["type"] == "Event":
            name = line["metadata"]["filename"]
            assert found.setdefault(line["key"], name) == name
    return found


def kill_at_random(chain, seed, victims, progress, until):
    """Kill the source and one more, again and again, whenever some more is done."""
    rng = random.Random(seed)
    for count in range(15, until, 20):
        wait_until(lambda count=count: progress() >= count, chain.text)
        for victim in dict.fromkeys(["images.0", rng.choice(victims)]):
            wait_until(lambda victim=victim: victim in chain.pids(), chain.text)
            chain.kill(victim)


def test_each_file_arrives_once_by_key_though_all_are_killed_again_and_again(make_chain):
    chain = make_chain(
        WATCH.format(", stop_after_idle_s = 1"),
        operator("work", "Pass", ["images"], every_s=0.005, keys=f"replicas = 2\n{SOON}"),
        publisher("write", ["work"], keys=SOON),
        keys=KEYS,
    )
    write_images(chain.folder)
    supervisor = chain.supervise()
    kill_at_random(chain, 1, ["work.0", "work.1", "write.0"], chain.count, FILES - 20)
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    assert sorted(files_by_key(lines).values()) == NAMES
    assert len({line["run"] for line in lines}) == 1
    for stop in [line["data"] for line in lines if line["type"] == "Stop"]:
        totals = stop["totals"]
        assert (totals["sent"], totals["lost"], totals["complete"]) == (FILES, 0, True)


def test_the_file_of_a_run_is_whole_and_in_order_though_all_are_killed(make_chain):
    chain = make_chain(
        WATCH.format(', stop_after_idle_s = 1, read = "array"'),
        operator("work", "Slow", ["images"], every_s=0.005, keys=f"replicas = 2\n{SOON}"),
        publisher(
            "write",
            ["work"],
            "arroyo.connectors.hdf5_files:HDF5Publisher",
            keys=SOON,
            path="all.h5",
        ),
        keys=KEYS,
    )
    write_images(chain.folder)
    supervisor = chain.supervise()
    worked = chain.folder / "worked"
    kill_at_random(
        chain,
        2,
        ["work.0", "work.1", "write.0"],
        lambda: worked.stat().st_size if worked.exists() else 0,
        FILES - 20,
    )
    assert supervisor.wait() == 0, chain.text()
    assert [path.name for path in chain.folder.glob("*.h5")] == ["all.h5"]
    with h5py.File(chain.folder / "all.h5") as file:
        assert file["entry/data/data"][:, 0].tolist() == list(range(FILES))
        assert file["entry/written"][:].tolist() == [1] * FILES
        assert file["entry/totals/sent"][()] == FILES
        assert file["entry/totals/complete"][()]


def test_a_directory_goes_on_the_next_day(make_chain):
    chain = make_chain(
        WATCH.format(""),
        operator("work", "Pass", ["images"], every_s=0.01),
        publisher("write", ["work"]),
    )
    for first, last in ((0, 80), (80, 120)):
        write_images(chain.folder, NAMES[first:last])
        before = chain.count()
        supervisor = chain.supervise()
        # It is stopped in the midst of what is there.
        chain.wait_for_lines(before + 10)
        supervisor.send(signal.SIGINT)
        assert supervisor.wait() == 0, chain.text()
    supervisor = chain.supervise()
    wait_until(lambda: len(files_by_key(chain.lines())) == 120, chain.text)
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    events = [line["metadata"]["filename"] for line in lines if line["type"] == "Event"]
    assert events == NAMES[:120]
    stops = [line["data"]["totals"] for line in lines if line["type"] == "Stop"]
    assert len(stops) == 3
    assert all(totals["complete"] for totals in stops)
    assert sum(totals["sent"] for totals in stops) == 120


def test_what_vanished_while_it_was_in_flight_is_named(make_chain):
    chain = make_chain(
        WATCH.format(", stop_after_idle_s = 1"),
        operator("work", "Gate", ["images"], at="0010.npy"),
        publisher("write", ["work"], keys='order = "source"'),
        keys=KEYS,
    )
    write_images(chain.folder, NAMES[:40])
    supervisor = chain.supervise()
    wait_until((chain.folder / "waiting").exists, chain.text)
    # All of them have to be under way: what was not sent yet is nowhere missing.
    wait_until(lambda: chain.status()["images.0"]["sent"] >= 20, chain.text)
    pids = chain.pids()
    for victim in ("images.0", "work.0"):
        kill(pids[victim])
    for name in NAMES[12:15]:
        (chain.folder / "images" / name).unlink()
    chain.open_gate()
    assert supervisor.wait() != 0, "something was lost"
    lines = chain.lines()
    names = [line["metadata"]["filename"] for line in lines if line["type"] == "Event"]
    assert names == [name for name in NAMES[:40] if name not in NAMES[12:15]]
    (stop,) = [line["data"] for line in lines if line["type"] == "Stop"]
    assert stop["vanished"] == 3
    assert stop["totals"]["missing"] == [[12, 15]]
    assert (stop["totals"]["sent"], stop["totals"]["lost"]) == (40, 3)
    assert stop["totals"]["complete"] is False
