"""A supervisor and its stages as real processes; see `supervised_fakes` for what the stages do."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import supervised_fakes
from chains import is_gone, wait_until

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import owner
from arroyo.control.notify import NotifySocket
from arroyo.control.requests import request
from arroyo.errors import UnavailableError

DEADLINE_S = 60.0
CHAIN = """
[chain]
name = "powder"
[supervisor]
{supervisor}
[stages.images]
listener = "module:Class"
{images}
[stages.integrate]
operator = "module:Class"
inputs = ["images"]
replicas = 2
{integrate}
[stages.patterns]
publisher = "module:Class"
inputs = ["integrate"]
{patterns}
"""
REPLICAS = ("images.0", "integrate.0", "integrate.1", "patterns.0")


class Supervised:
    """A supervisor of the chain above, whose output is kept as it comes."""

    def __init__(
        self,
        folder,
        *,
        supervisor="",
        images="",
        integrate="",
        patterns="",
        is_read=True,
        environ=None,
    ):
        self.path = folder / "chain.toml"
        self.path.write_text(
            CHAIN.format(
                supervisor=supervisor, images=images, integrate=integrate, patterns=patterns
            )
        )
        self.environ = dict(os.environ)
        self.run_directory = RunDirectory.locate("powder", self.environ)
        self.environ.pop("NOTIFY_SOCKET", None)
        # The processes of the stages have to find the fakes as well.
        self.environ["PYTHONPATH"] = str(Path(supervised_fakes.__file__).parent)
        self.environ |= environ or {}
        self.process = self.spawn()
        self.lines = []
        self.reader = threading.Thread(target=self.read if is_read else lambda: None)
        self.reader.start()

    def spawn(self):
        return subprocess.Popen(
            [sys.executable, supervised_fakes.__file__, str(self.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environ,
        )

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_for(self, words, count=1):
        wait_until(lambda: self.text.count(words) >= count, lambda: f"{words!r} in {self.text}")

    def wait(self):
        self.process.wait(DEADLINE_S)
        self.reader.join(DEADLINE_S)
        return self.process.returncode

    def status(self):
        return request(self.run_directory.control, "status")

    def answers(self):
        try:
            return bool(self.status())
        except UnavailableError:
            return False

    def pid(self, replica):
        (entry,) = [each for each in self.status()["replicas"] if each["replica"] == replica]
        return entry["pid"]

    def pids(self):
        return [entry["pid"] for entry in self.status()["replicas"]]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        wait_until(
            lambda: not any(owner(self.run_directory.lock(name)) for name in REPLICAS),
            lambda: f"a stage is left: {self.text}",
        )
        self.reader.join(DEADLINE_S)
        self.process.stdout.close()


@pytest.fixture
def supervise(tmp_path):
    opened = []

    def start(**settings):
        opened.append(Supervised(tmp_path, **settings))
        return opened[-1]

    yield start
    for supervised in opened:
        supervised.close()


def test_a_finite_chain_runs_to_its_end(supervise):
    chain = supervise(images="options = { finish_after_s = 0.2 }")
    assert chain.wait() == 0
    assert chain.lines[0] == "chain powder: 3 stages, 4 processes"
    assert "all ready after" in chain.text
    assert "chain powder ended well after" in chain.lines[-1]


def test_a_killed_stage_comes_back(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    pid = chain.pid("integrate.1")
    os.kill(pid, signal.SIGKILL)
    chain.wait_for("integrate.1 ready", count=2)
    assert "integrate.1 was killed (SIGKILL)" in chain.text
    assert "starting it again now (try 1 of 5)" in chain.text
    assert chain.status()["state"] == "READY"
    assert chain.pid("integrate.1") != pid


def test_ctrl_c_stops_in_order(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    chain.process.send_signal(signal.SIGINT)
    assert chain.wait() == 0
    finished = [line.split(" ")[0] for line in chain.lines if " finished " in line]
    assert sorted(finished) == sorted(REPLICAS)


def test_a_stop_by_request_stops_in_order(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    pid = chain.process.pid
    for _ in range(2):  # the second one waits, too
        assert request(chain.run_directory.control, "stop") == {"pid": pid, "in_the_way": []}
    assert chain.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
def test_a_signal_without_a_meaning_is_ignored_with_a_line(supervise, number):
    chain = supervise()
    chain.wait_for("all ready")
    chain.process.send_signal(number)
    chain.wait_for(f"{number.name} is ignored")
    assert chain.status()["state"] == "READY"


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
def test_a_terminal_that_goes_away_stops_in_order(supervise, number):
    chain = supervise()
    chain.wait_for("all ready")
    chain.process.send_signal(number)
    chain.wait_for(f"stopping because of {number.name}")
    if number == signal.SIGHUP:
        chain.process.send_signal(number)
    assert chain.wait() == 0, chain.text


def test_no_stage_outlives_a_killed_supervisor(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    pids = chain.pids()
    chain.process.kill()
    wait_until(lambda: all(map(is_gone, pids)), lambda: f"{pids} are left")


def test_no_stage_outlives_a_supervisor_killed_while_they_start(supervise):
    chain = supervise(integrate='options = { imports = ["email.mime.text"] }')
    wait_until(chain.answers, lambda: chain.text)
    pids = [pid for pid in chain.pids() if pid]
    assert pids
    chain.process.kill()
    wait_until(lambda: all(map(is_gone, pids)), lambda: f"{pids} are left")


def test_a_second_supervisor_is_refused(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    with chain.spawn() as second:
        output, _ = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 75
    assert f"pid {chain.process.pid}" in output
    assert "Traceback" not in output
    assert chain.status()["state"] == "READY"


def test_a_stage_that_never_gets_ready_is_killed(supervise):
    chain = supervise(
        supervisor="max_restarts = 0",
        patterns='start_timeout_s = "500 ms"\noptions = { never_ready = true }',
    )
    chain.wait_for("patterns.0 killed: it did not become ready")
    chain.wait_for("not ready within 0.5 s; FAILED, next try in 5.0 min")
    assert chain.status()["state"] in {"DEGRADED", "STARTING"}


def test_a_crash_loop_is_given_up_with_its_reason(supervise):
    chain = supervise(
        supervisor="max_restarts = 2",
        integrate='backoff_s = "10 ms"\noptions = { exit = 1, message = "no beam" }',
    )
    chain.wait_for("FAILED", count=2)
    assert "integrate.0 exited with 1 after" in chain.text
    assert "no beam; starting it again now (try 1 of 2)" in chain.text
    states = {entry["replica"]: entry["state"] for entry in chain.status()["replicas"]}
    assert states["integrate.0"] == states["integrate.1"] == "FAILED"
    chain.process.send_signal(signal.SIGTERM)
    assert chain.wait() == 1


def test_a_configuration_error_of_a_stage_ends_the_chain(supervise):
    chain = supervise(patterns='options = { exit = 78, message = "there is no file dark.tif" }')
    assert chain.wait() == 78
    assert chain.text.count("there is no file dark.tif") == 1


def test_what_does_not_stop_is_killed_and_named(supervise):
    chain = supervise(supervisor='stop_timeout_s = "200 ms"', patterns="options = { deaf = true }")
    chain.wait_for("all ready")
    chain.process.send_signal(signal.SIGTERM)
    assert chain.wait() == 1
    assert "patterns.0 killed: it did not end in time" in chain.text


def test_programs_that_a_stage_left_behind_are_ended(supervise):
    chain = supervise(integrate="options = { child = true }")
    chain.wait_for("all ready")
    leader = chain.pid("integrate.0")
    (child,) = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: is_gone(int(child)), lambda: f"{child} is left")


def test_programs_of_stages_do_not_outlive_a_killed_supervisor_either(supervise):
    chain = supervise(integrate="options = { child = true }")
    chain.wait_for("all ready")
    leaders = [chain.pid(replica) for replica in ("integrate.0", "integrate.1")]
    tasks = [Path(f"/proc/{leader}/task/{leader}/children") for leader in leaders]
    children = [int(child) for task in tasks for child in task.read_text().split()]
    assert len(children) == 2
    chain.process.kill()
    wait_until(lambda: all(map(is_gone, children)), lambda: f"one of {children} is left")


def test_a_stage_is_alone_in_its_session_and_reads_no_module_of_the_folder(supervise, tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong random')")
    chain = supervise()
    chain.wait_for("all ready")
    for pid in chain.pids():
        assert os.getsid(pid) == pid
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert b"PYTHONSAFEPATH=arroyo-supervise" in environ


def test_an_idle_supervisor_is_small_and_at_rest(supervise):
    chain = supervise()
    chain.wait_for("all ready")
    status = Path(f"/proc/{chain.process.pid}/status").read_text()
    rss_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert rss_kib <= 30 * 1024
    assert "Threads:\t1\n" in status
    maps = Path(f"/proc/{chain.process.pid}/maps").read_text()
    assert "zmq" not in maps
    assert "numpy" not in maps
    before = switches(chain.process.pid)
    time.sleep(1.0)  # what it does in this time is the question
    # It looks four times a second whether all are well.
    assert switches(chain.process.pid) - before <= 6


def switches(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_an_unread_output_holds_up_nobody(supervise):
    chain = supervise(
        supervisor="max_restarts = 100000\nchain_max_restarts = 100000",
        images=f'backoff_s = "1 ms"\noptions = {{ exit = 1, message = "{"x" * 60000}" }}',
        is_read=False,
    )
    wait_until(chain.answers, lambda: "no answer")
    wait_until(lambda: chain.status()["replicas"][0]["restarts"] >= 3, lambda: "no restarts")


def test_the_log_tells_the_same_as_the_terminal(supervise):
    chain = supervise(images="options = { finish_after_s = 0.1 }")
    chain.wait()
    logged = chain.run_directory.log("supervisor").read_text().splitlines()
    assert [json.loads(line)["message"] for line in logged] == chain.lines


def test_a_terminal_that_has_inherited_the_journal_s_name_is_written_to(supervise):
    chain = supervise(
        images="options = { finish_after_s = 0.1 }", environ={"JOURNAL_STREAM": "1:1"}
    )
    chain.wait()
    assert "ended well" in chain.text


def test_systemd_hears_of_the_chain_and_not_of_its_stages(supervise, tmp_path):
    with contextlib.closing(NotifySocket(tmp_path / "systemd")) as systemd:
        chain = supervise(
            environ={"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "200000"},
        )
        heard = []

        def hears(word):
            heard.extend(systemd.receive())
            return any(word in fields for _, fields in heard)

        for word in ("READY", "WATCHDOG"):
            wait_until(lambda word=word: hears(word), lambda: str(heard))
        chain.process.send_signal(signal.SIGTERM)
        wait_until(lambda: hears("STOPPING"), lambda: str(heard))
        assert chain.wait() == 0
    assert {pid for pid, _ in heard} == {chain.process.pid}


# With the real stages.


def command(name, *arguments, folder):
    return subprocess.run(
        [Path(sys.executable).parent / name, *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        cwd=folder,
    )


def test_the_chain_that_new_writes_runs_to_its_end(tmp_path):
    assert command("arroyo", "new", "first", folder=tmp_path).returncode == 0
    ended = command("arroyo-supervise", "first/chain.toml", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ended well" in ended.stdout
    status = command("arroyo", "status", "first/chain.toml", "--json", folder=tmp_path)
    assert json.loads(status.stdout)["state"] == "STOPPED"


def test_mistakes_in_the_chain_file_are_found_before_anything_starts(tmp_path):
    (tmp_path / "chain.toml").write_text(
        '[chain]\nname = "powder"\n[stages.images]\nlistener = "nowhere:Images"\n'
    )
    ended = command("arroyo-supervise", "chain.toml", folder=tmp_path)
    assert ended.returncode == 78
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_chain_that_is_not_there_is_a_usage_error(tmp_path):
    ended = command("arroyo-supervise", "nowhere.toml", folder=tmp_path)
    assert ended.returncode == 64
    assert ended.stderr.startswith("error: ")
