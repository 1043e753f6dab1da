"""A campaign against a chain of rude stages and real frames, and the verdict at its end.

A directory that fills up, two replicas of an operator that misbehaves, a fold of ten in the order
of the source, and a NeXus file. Every good frame has to be in the file once, right to the byte;
every other one has to be in quarantine.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections import Counter
from random import Random

import h5py
import numpy as np
from chains import ChainFolder, wait_until
from fault import rude_stages
from fault.campaign import let_strike
from fault.faults import wait
from small_disk import fill

MANY = 1_000_000
FRAME = re.compile(r"(\d{6})\.npy")
TABLES = """
[supervisor]
max_restarts = {many}
chain_max_restarts = {many}

[stages.frames]
listener = "arroyo.connectors:DirectoryListener"
backoff_s = 1e-30
options = {{ directory = "frames", pattern = "*.npy", read = "array", settle_s = 0.05, \
poll_s = 0.05, stop_after_idle_s = {idle_s} }}
window = 64

[stages.integrate]
operator = "rude_stages:Integrate"
inputs = ["frames"]
replicas = 2
backoff_s = 1e-30
process_timeout_s = 10
options = {{ work_s = {work_s}, wrong = "wrong.jsonl" }}

[stages.gather]
operator = "rude_stages:Gather"
inputs = ["integrate"]
order = "source"
backoff_s = 1e-30

[stages.file]
publisher = "arroyo.connectors:HDF5Publisher"
inputs = ["gather"]
backoff_s = 1e-30
options = {{ path = "disk/curves.h5" }}
"""


class RudeCampaign:
    """The chain, its directory of frames, and what is done to it.

    Parameters
    ----------
    folder
        Where all of it is kept; ``disk`` in it may be a small one.
    seed
        Decides which faults strike whom and when.
    rate_hz
        Frames per second.
    work_s
        Time that the operator takes for one.
    """

    stages = ("frames", "integrate", "gather", "file")

    def __init__(self, folder, seed, *, rate_hz=20.0, work_s=0.05, idle_s=5.0):
        self.random = Random(seed)
        tables = TABLES.format(many=MANY, work_s=work_s, idle_s=idle_s)
        self.chain = ChainFolder(folder, tables, name="rude")
        shutil.copy(rude_stages.__file__, folder)
        for name in ("frames", "disk"):
            (folder / name).mkdir(exist_ok=True)
        self.rate_hz = rate_hz
        self.written = 0
        self._enough = threading.Event()
        self._feeder = threading.Thread(target=self._feed)
        self.supervisor = None

    def supervise(self):
        """Start the chain, wait until all of it is READY, and let frames come."""
        self.supervisor = self.chain.supervise()
        self.supervisor.wait_for("all ready")
        self.feed()

    def feed(self):
        """Let frames come."""
        if not self._feeder.is_alive():
            self._feeder.start()

    def _feed(self):
        folder = self.chain.folder / "frames"
        while not self._enough.wait(1 / self.rate_hz):
            draft = folder / ".draft"
            if self.written % rude_stages.PERIOD == rude_stages.UNREADABLE:
                draft.write_bytes(b"this is no image")
            else:
                with draft.open("wb") as file:
                    np.save(file, rude_stages.make_frame(self.written))
            draft.rename(folder / f"{self.written:06}.npy")
            self.written += 1

    def choose(self, random):
        """Choose a replica that faults may meet; pid None where it does not run just now."""
        name = random.choice(["frames.0", "integrate.0", "integrate.1", "gather.0", "file.0"])
        return name, self.chain.pids().get(name)

    def run(self, faults, **how):
        """Let faults strike at random moments; see `let_strike`."""
        return let_strike(self, faults, **how)

    def finish(self, deadline_s=180.0):
        """Let each kind of frame come once, then none; wait for the chain's end, and judge.

        Returns
        -------
        broken, figures
            Sentences for promises that were not kept; counts for people.
        """
        wait_until(
            lambda: self.written >= rude_stages.PERIOD, lambda: f"{self.written} frames", deadline_s
        )
        self.end_feeding()
        return self.judge(self.supervisor.wait(deadline_s))

    def end_feeding(self):
        """Let no more frames come."""
        self._enough.set()
        self._feeder.join()

    def judge(self, code):
        """Compare the file and the quarantine with what there was to do."""
        numbers = set(range(self.written))
        unreadable = {n for n in numbers if n % rude_stages.PERIOD == rude_stages.UNREADABLE}
        bad = {n for n in numbers - unreadable if rude_stages.is_bad(n)}
        good = numbers - unreadable - bad
        rows = list(self.rows())
        came = Counter(int(row[0]) for row in rows)
        wrong = [int(row[0]) for row in rows if not is_right(row)]
        broken = []

        def require(holds, sentence):
            if not holds:
                broken.append(sentence)

        named, others = self.quarantined()
        require(not others, f"{len(others)} in quarantine are no frames: {others[:3]}")
        lost = sorted(good - set(came))
        require(not lost, f"{len(lost)} good frames are not in the file: {lost[:5]}")
        twice = sorted(n for n, count in came.items() if count > 1)
        require(not twice, f"{len(twice)} frames are in the file twice: {twice[:5]}")
        more = sorted(set(came) - good)
        require(not more, f"{len(more)} bad frames are in the file: {more[:5]}")
        require(not wrong, f"{len(wrong)} curves are wrong: {wrong[:5]}")
        order = [int(row[0]) for row in rows]
        require(order == sorted(order), "the file is not in the order of the source")
        unnamed = sorted(bad - named)
        require(not unnamed, f"{len(unnamed)} bad frames are not in quarantine: {unnamed[:5]}")
        buried = sorted(named - bad)
        require(not buried, f"{len(buried)} good frames are in quarantine: {buried[:5]}")
        changed = self.chain.lines("wrong.jsonl")
        require(not changed, f"frames that an operator kept have changed: {changed[:3]}")
        expected = 65 if bad else 0
        require(code == expected, f"the supervisor ended with {code}, expected {expected}")
        figures = {
            "frames": self.written,
            "good": len(good),
            "bad": len(bad),
            "published": len(rows),
        }
        return broken, figures

    def rows(self):
        """Yield each curve of the files in order, with the number of its frame in front."""
        for path in sorted((self.chain.folder / "disk").glob("curves*.h5")):
            with h5py.File(path) as file:
                written = file["entry/written"][()].astype(bool)
                for output in file["entry/data/data"][()][written]:
                    yield from output[output[:, 0] != rude_stages.LAST_OUTPUT]

    def quarantined(self):
        """Return the numbers of the frames in quarantine, and what else is there."""
        shown = self.chain.command("quarantine", "show", self.chain.path, "--all", "--json")
        entries = {json.dumps(entry): entry["reason"] for entry in json.loads(shown)}
        frames = {text: FRAME.search(text) for text in entries}
        numbers = {int(found[1]) for found in frames.values() if found}
        return numbers, [entries[text] for text, found in frames.items() if not found]

    def close(self):
        """End what still runs."""
        self._enough.set()
        if self._feeder.is_alive():
            self._feeder.join()
        self.chain.close()


def is_right(row):
    """Whether a curve is what has to come of the frame whose number is in front."""
    return np.array_equal(row[1:], rude_stages.integrate(rude_stages.make_frame(int(row[0]))))


class FullDisk:
    """Leave no room where the file is written for a while."""

    def __init__(self, folder="disk", shortest_s=0.2, longest_s=2.0):
        self.folder, self.shortest_s, self.longest_s = folder, shortest_s, longest_s

    def strike(self, campaign, random):
        seconds = random.uniform(self.shortest_s, self.longest_s)
        ballast = fill(campaign.chain.folder / self.folder)
        wait(seconds)
        ballast.unlink()
        return f"no room in {self.folder} for {seconds:.1f} s"


class ClockStep:
    """Step the wall clock back or forth by up to an hour."""

    def __init__(self, clock):
        self.clock = clock

    def strike(self, campaign, random):
        offset_s = random.randint(-3600, 3600)
        self.clock.jump(offset_s)
        return f"clock steps to {offset_s:+d} s"
