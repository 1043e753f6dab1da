"""What is brought back from quarantine lands where the results of its run are."""

import json

import pytest
from chains import listener, operator, publisher, wait_until

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install 'arroyo[hdf5]'")

STAGES = '''
import threading
from pathlib import Path

import numpy as np

from arroyo import Event, Listener, Operator, Start, Stop


class Images(Listener):
    """One run of ten small images; `gain` is in its Start."""

    def __init__(self, operator, gain, gate=None):
        super().__init__(operator)
        self.gain, self.gate, self.stopping = gain, gate, threading.Event()

    def start(self):
        self.operator.process(Start({"gain": self.gain}))
        for index in range(10):
            image = np.full((2, 3), index, "<f8")
            self.operator.process(Event.from_array(image, index=index))
        while self.gate and not Path(self.gate).exists() and not self.stopping.wait(0.005):
            pass
        self.operator.process(Stop({"reason": "done"}))

    def stop(self):
        self.stopping.set()


class Scale(Operator):
    """Multiplies by what the Start of the run says; fails on some until it is mended."""

    def process(self, message):
        if isinstance(message, Start):
            self.gain = message.data["gain"]
        if not isinstance(message, Event):
            return message
        if message.metadata["index"] in (3, 6) and not Path("mended").exists():
            raise ValueError(f"no sense in {message.metadata['index']}")
        return Event.from_array(message.array * self.gain, **message.metadata)
'''


def make(make_chain, gain=2, **options):
    chain = make_chain(
        listener("images", "scale:Images", gain=gain, **options),
        operator("scale", "scale:Scale", ["images"]),
        publisher(
            "files", ["scale"], "arroyo.connectors.hdf5_files:HDF5Publisher", path="{run}.h5"
        ),
        publisher("write", ["scale"]),
    )
    (chain.folder / "scale.py").write_text(STAGES)
    return chain


def entries(chain):
    return json.loads(chain.command("quarantine", "list", chain.path, "--json"))


def read(path):
    with h5py.File(path, "r") as file:
        rows = file["entry/data/data"][:, 0, 0].tolist()
        quarantined = int(file["entry/totals/quarantined"][()])
        return rows, file["entry/written"][:].tolist(), quarantined


def test_a_message_comes_back_with_its_run_its_place_and_its_start(make_chain):
    chain = make(make_chain)
    assert chain.supervise().wait() == 65, chain.text()
    (path,) = chain.folder.glob("*.h5")
    _, written, quarantined = read(path)
    assert [index for index, flag in enumerate(written) if not flag] == [3, 6]
    assert quarantined == 2
    before = chain.count()

    (chain.folder / "mended").touch()
    chain.edit("gain = 2", "gain = 5")
    chain.command("quarantine", "requeue", chain.path, "--all")
    assert chain.supervise().wait() == 0, chain.text()
    assert entries(chain) == []
    assert read(path) == ([2.0 * index for index in range(10)], [1] * 10, 0)
    (other,) = set(chain.folder.glob("*.h5")) - {path}
    assert read(other) == ([5.0 * index for index in range(10)], [1] * 10, 0)

    again = chain.lines()[before:]
    returned = [line for line in again if line["run"] == path.stem]
    assert [line["type"] for line in returned] == ["Start", "Event", "Stop"] * 2
    events = [line["sequence"] for line in returned if line["type"] == "Event"]
    assert events == [3, 6]
    assert sum(line["type"] == "Event" for line in again) == 12


def test_a_message_of_the_run_that_is_open_comes_back_into_it(make_chain):
    chain = make(make_chain, gate="gate")
    supervisor = chain.supervise()
    wait_until(lambda: len(entries(chain)) == 2, chain.text)
    (chain.folder / "mended").touch()
    chain.command("quarantine", "requeue", chain.path, "--all")
    wait_until(lambda: not entries(chain), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    (path,) = chain.folder.glob("*.h5")
    rows, written, _ = read(path)
    assert (rows, written) == ([2.0 * index for index in range(10)], [1] * 10)
    kinds = [line["type"] for line in chain.lines()]
    assert (kinds.count("Start"), kinds.count("Event"), kinds.count("Stop")) == (1, 10, 1)
