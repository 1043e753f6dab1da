"""`HDF5Publisher` on a disk that fills up and has room again."""

import h5py
import numpy as np
import pytest
from chains import listener

FRAMES = 60

STAGES = f"""
import numpy as np

from arroyo import Event, Listener, Start, Stop


class Frames(Listener):
    def start(self):
        self.operator.process(Start({{}}))
        for number in range({FRAMES}):
            frame = np.full((128, 128), number, np.int32)
            self.operator.process(Event.from_array(frame, number=number))
        self.operator.process(Stop({{}}))

    def stop(self):
        pass
"""

KEPT = """
[stages.kept]
publisher = "arroyo.connectors:HDF5Publisher"
inputs = ["frames"]
backoff_s = 0.1
options = { path = "disk/frames.h5" }
"""


@pytest.mark.logs_errors("frames.h5 can't be written: No space left on device")
def test_a_disk_that_was_full_costs_no_frame(make_chain, small_disk):
    chain = make_chain(listener("frames", "frames:Frames"), KEPT)
    (chain.folder / "frames.py").write_text(STAGES)
    disk = small_disk(6 * 1024, chain.folder / "disk")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    supervisor = chain.supervise()
    supervisor.wait_for("No space left", count=2)
    ballast.unlink()
    assert supervisor.wait() == 0, chain.text()
    assert "SIGSEGV" not in supervisor.text
    assert "quarantine" not in supervisor.text
    with h5py.File(disk / "frames.h5") as file:
        frames = file["entry/data/data"][()]
        assert file["entry/totals/complete"][()]
    assert np.array_equal(frames[:, 0, 0], range(FRAMES))
    assert np.array_equal(frames.min((1, 2)), frames.max((1, 2)))
