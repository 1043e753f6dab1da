"""`arroyo set`: parameters of a stage that works."""

import json
import subprocess

from chains import PROGRAMS, indices, listener, operator, publisher, totals, wait_until


def levels(chain):
    """The level of each event that was written, before and after the work on it."""
    return [line["metadata"]["level"] for line in chain.lines() if line["type"] == "Event"]


def refusal(chain, *arguments, exit_code=64):
    """Run `arroyo set` in vain; return what it says."""
    ended = subprocess.run(
        [PROGRAMS / "arroyo", "set", "numbers", *arguments],
        cwd=chain.folder,
        env=chain.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == exit_code, ended.stdout
    return ended.stderr


def set_by_all(chain, level):
    """Set it; return once nothing else is written any more."""
    assert chain.command("set", "numbers", "work", f"level={level}") == f"work: level = {level}\n"
    wait_until(lambda: levels(chain)[-20:] == [[level, level]] * 20, chain.text)


def test_parameters_are_set_in_mid_run_and_kept_over_a_kill(make_chain):
    keys = "replicas = 2\nparameters = { level = 5 }"
    chain = make_chain(
        listener("count", every_s=0.001, handed="handed"),
        operator("work", "Tuned", ["count"], keys=keys),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(50)
    assert levels(chain)[0] == [5, 5]
    assert chain.command("set", "numbers", "work") == "level = 5\n"
    set_by_all(chain, 7)

    chain.kill("work.0")
    wait_until(lambda: chain.status()["work.0"]["restarts"] == 1, chain.text)
    chain.wait_until_ready()
    set_by_all(chain, 8)
    chain.kill("work.1")
    wait_until(lambda: chain.status()["work.1"]["restarts"] == 1, chain.text)
    chain.wait_until_ready()
    written = len(levels(chain))
    chain.wait_for_lines(chain.count() + 100)
    assert all(pair == [8, 8] for pair in levels(chain)[written:])

    said = refusal(chain, "work", "level=-1")
    assert "refuses: Tuned.set_parameters() raised ValueError: a level is not negative" in said
    assert "did you mean 'level'?" in refusal(chain, "work", "leval=1")

    in_the_way = chain.run_directory.parameters("work").with_name("work.draft")
    in_the_way.mkdir()
    said = refusal(chain, "work", "level=9", exit_code=75)
    assert "the run directory takes no note of it: Is a directory; the old values stay" in said
    in_the_way.rmdir()
    assert "level = 8, set by pid" in chain.command("status", "numbers")

    ones = [chain.start("arroyo", "set", "numbers", "work", f"level={n}") for n in (11, 12)]
    assert [one.wait() for one in ones] == [0, 0]
    told = [json.loads(line) for line in chain.command("events", "numbers", "--json").splitlines()]
    last = [line["message"] for line in told if line["event"] == "parameter-set"][-1]
    level = int(last.split(",")[0].rpartition("=")[2])
    assert json.loads(chain.command("set", "numbers", "work", "--json")) == {"level": level}

    chain.command("stop", "numbers")
    assert supervisor.wait() == 0, chain.text()
    assert all(before == after for before, after in levels(chain))
    handed = int((chain.folder / "handed").read_text())
    assert sorted(indices(chain.lines())) == list(range(handed))
    assert totals(chain.lines())["lost"] == 0
    chain.supervise()
    chain.wait_until_ready()
    assert chain.command("set", "numbers", "work") == "level = 5\n", "the chain file counts again"
