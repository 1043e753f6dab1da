"""A campaign: a chain that keeps account, a schedule of faults, and the verdict at the end."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from random import Random

import msgspec
import pytest
from chains import ChainFolder
from fault import oracle_stages
from fault.bench import SHOWN
from fault.faults import send, wait
from fault.oracle import Evidence, judge
from fault.oracle_stages import ENOUGH, Handed, Published

from arroyo.runner.quarantine.store import Quarantine
from arroyo.shared_memory.files import SHARED_MEMORY, pool_prefix

MANY = 1_000_000
RESTARTS = f"[supervisor]\nmax_restarts = {MANY}\nchain_max_restarts = {MANY}\n"
END_DEADLINE_S = 120.0


def let_strike(campaign, faults, *, strikes=None, seconds=None, pause_s=0.2, tell=None):
    """Let faults strike at random moments, so many times or for so long; count them by name.

    Parameters
    ----------
    campaign
        Whom they meet: `choose` and `random` decide.
    faults
        By name.
    pause_s
        Mean time between two of them.
    tell
        Called with a line for each.
    """
    counts = dict.fromkeys(faults, 0)
    began = time.monotonic()
    while (strikes is None or sum(counts.values()) < strikes) and (
        seconds is None or time.monotonic() < began + seconds
    ):
        wait(min(campaign.random.expovariate(1 / pause_s), 5 * pause_s))
        name = campaign.random.choice(list(faults))
        done = faults[name].strike(campaign, campaign.random)
        if done is not None:
            counts[name] += 1
            if tell is not None:
                tell(f"{time.monotonic() - began:8.1f} s  {done}")
    return counts


class Campaign:
    """One chain and what is done to it.

    Parameters
    ----------
    folder
        Where all of it is kept.
    trial
        A `TrialChain`.
    seed
        Decides which faults strike whom and when.
    size_bytes, events, runs, rate_hz, timeout_s, window, on_error
        Payload of an event; events of a run; runs (none: until `finish`); pace of each source
        (0: free); `process_timeout_s`; messages under way at once; what follows where a stage's
        code raises, as it may for lack of something (see `faults.RAISING`).
    stages
        Names of the stages that faults may meet; by default all but sources.
    """

    def __init__(
        self,
        folder,
        trial,
        seed,
        *,
        size_bytes=100,
        events=1000,
        runs=None,
        rate_hz=2000.0,
        timeout_s=2.0,
        window=20_000,
        on_error="quarantine",
        stages=None,
    ):
        self.trial, self.random = trial, Random(seed)
        self.stages = stages or trial.below_sources
        tables = trial.tables(
            size_bytes=size_bytes,
            events=events,
            runs=runs,
            rate_hz=rate_hz,
            timeout_s=timeout_s,
            window=window,
            on_error=on_error,
        )
        self.chain = ChainFolder(folder, RESTARTS + tables, name="trial")
        shutil.copy(oracle_stages.__file__, folder)
        self.supervisor = None

    def supervise(self):
        """Start the chain, and wait until all of it is READY."""
        self.supervisor = self.chain.supervise()
        self.supervisor.wait_for("all ready")

    def choose(self, random):
        """Choose a replica that faults may meet; pid None where it does not run just now."""
        names = [
            f"{stage.name}.{replica}"
            for stage in self.trial.stages
            if stage.name in self.stages
            for replica in range(stage.replicas)
        ]
        name = random.choice(names)
        return name, self.chain.pids().get(name)

    def strike(self, fault):
        """Let one fault strike; return what was done, or None."""
        return fault.strike(self, self.random)

    def run(self, faults, **how):
        """Let faults strike at random moments; see `let_strike`."""
        return let_strike(self, faults, **how)

    def finish(self, deadline_s=END_DEADLINE_S):
        """End the sources, wait until the chain has drained, and judge.

        Returns
        -------
        Verdict
            With a sentence for a chain that does not end, and for what is left behind.
        """
        (self.chain.folder / ENOUGH).touch()
        stuck = None
        try:
            code = self.supervisor.wait(deadline_s)
        except pytest.fail.Exception:
            stuck = f"the chain did not end within {deadline_s:g} s:\n{self.chain.text()}"
            rows = self.chain.status()
            stuck += "\n" + "\n".join(f"{name}: {row}" for name, row in rows.items())
            stuck += f"\n{self.chain.history()}"
            self.close()
            code = None
        verdict = self.judge()
        if stuck is not None:
            verdict.broken.insert(0, stuck)
        lost = verdict.figures["named as lost"]
        verdict.require(
            code is None or (code != 0) == (lost > 0),
            f"the supervisor ended with {code}, and {lost} were lost",
        )
        return verdict

    def judge(self):
        """Judge a chain that has ended by its accounts, and by what it has left behind."""
        verdict = judge(self.trial, self.evidence())
        state = self.chain.state_directory
        aside = [entry.reason for entry in Quarantine(state.quarantine).entries()]
        verdict.figures["in quarantine"] = len(aside)
        verdict.require(not aside, f"{len(aside)} are in quarantine: {aside[:SHOWN]}")
        for left in self.left_behind():
            verdict.require(False, f"left behind: {left}")
        return verdict

    def evidence(self):
        """Read all accounts."""
        folder = self.chain.folder
        return Evidence(
            {
                each.name: read(folder / f"{each.name}.handed", Handed)
                for each in self.trial.sources
            },
            {
                each.name: read(folder / f"{each.name}.published", Published)
                for each in self.trial.sinks
            },
            {
                each.name: {
                    file.name: whole_rows(file.read_bytes())
                    for file in (folder / f"{each.name}.effects").glob("*")
                }
                for each in self.trial.sinks
                if each.idempotent
            },
        )

    def left_behind(self):
        """Processes, sockets and shared memory of the chain that are still there."""
        directory = self.chain.run_directory.path
        mark = f"ARROYO_RUN_DIR={directory.parent}".encode()
        found = [
            f"process {path.parent.name}"
            for path in Path("/proc").glob("[0-9]*/environ")
            if mark in environment(path)
        ]
        found += [
            str(path)
            for kind in ("in", "back", "pub", "s")
            for path in (directory / kind).iterdir()
        ]
        return found + [str(path) for path in SHARED_MEMORY.glob(f"{pool_prefix(directory)}*")]

    def close(self):
        """End what still runs."""
        for pid in self.chain.pids().values():
            send(pid, signal.SIGCONT)  # one that is stopped can't end
        self.chain.close()


def read(path, kind):
    """Read an account; it ends with a whole line."""
    if not path.exists():
        return []
    decoder = msgspec.json.Decoder(kind)
    return decoder.decode_lines(path.read_bytes())


def whole_rows(content):
    """Leave out a row that a kill has cut; it has come again."""
    size = oracle_stages.EFFECT.size
    return content[: len(content) // size * size]


def environment(path):
    try:
        return path.read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
