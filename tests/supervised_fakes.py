"""A supervisor in a process of its own, whose stages only do what a supervisor sees of a stage.

`python supervised_fakes.py CHAIN` runs it. What a stage does is in its options:

imports
    modules that it imports before it is ready
finish_after_s
    a listener that has finished by itself after so long
exit
    code that it ends with instead of becoming ready; `message` is logged as the reason
never_ready
    it does not become ready
deaf
    it takes no notice of SIGTERM, nor of the end of those above
child
    it starts a program in its own group and leaves it behind
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path


def stage(chain_path, name, run_path, state_path, lifeline):
    from arroyo.supervision.watching.child import detach, dismiss_group

    detach(lifeline)

    from arroyo.config.reader import load_chain
    from arroyo.config.run_directory import RunDirectory
    from arroyo.control.locks import Lock
    from arroyo.control.notify import Notifier
    from arroyo.identifiers import ReplicaName

    chain = load_chain(chain_path)
    me = ReplicaName.parse(name)
    own = chain.stages[me.stage]
    run_directory = RunDirectory(Path(run_path))
    signal.signal(signal.SIGTERM, tell)
    options = own.options
    Lock.acquire(run_directory.lock(me))
    for module in options.get("imports", []):
        importlib.import_module(module)
    if "exit" in options:
        log_error(run_directory.log(me), options.get("message", "it went wrong"))
        sys.exit(options["exit"])
    if options.get("child"):
        subprocess.Popen(["sleep", "60"])
    notifier = Notifier.from_environ(os.environ)
    ends = [
        end_file(run_directory, upstream)
        for source in own.inputs
        for upstream in chain.stages[source.stage].names
    ]
    end_file(run_directory, me).unlink(missing_ok=True)
    until = time.monotonic() + options.get("finish_after_s", 1e9)
    supervisor_is_gone = False
    try:
        if not options.get("never_ready"):
            notifier.ready()  # it may be told to stop as soon as that is heard
        while not supervisor_is_gone and time.monotonic() < until:
            if ends and not options.get("deaf") and all(end.exists() for end in ends):
                break
            wait_s = max(0, min(0.05, until - time.monotonic()))
            supervisor_is_gone = select.select([lifeline], [], [], wait_s)[0]
    except ToldError:
        if options.get("deaf"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            select.select([lifeline], [], [])
    notifier.stopping()
    end_file(run_directory, me).touch()
    dismiss_group()


class ToldError(Exception):
    """SIGTERM has come."""


def tell(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise ToldError


def end_file(run_directory, name):
    return run_directory.path / f"end.{name}"


def log_error(path, message):
    from log_lines import log_line  # here: a stage must not wait for its imports

    Path(path).write_bytes(log_line("ERROR", message, os.getpid()))


def main():
    import supervised_fakes

    from arroyo.cli.exits import exiting
    from arroyo.config.reader import load_chain
    from arroyo.config.run_directory import RunDirectory
    from arroyo.supervision.startup import supervise

    with exiting():
        chain = load_chain(sys.argv[1])
        for left in RunDirectory.locate(chain.name, os.environ).path.glob("end.*"):
            left.unlink()
        sys.exit(supervise(chain, target=supervised_fakes.stage, check=lambda *_: []))


if __name__ == "__main__":
    main()
