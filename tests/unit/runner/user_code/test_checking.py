import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from chains import is_gone, wait_until

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.runner.user_code.checking import check_chain, check_in_child

CHAIN = """
[chain]
name = "checked"

[stages.numbers]
listener = "checked_stages:Numbers"

[stages.double]
operator = "checked_stages:Double"
inputs = ["numbers"]
options = { factor = 2 }
"""

STAGES = """
import arroyo

print("modules may print")

class Numbers(arroyo.IteratingListener):
    def messages(self):
        return iter(())

class Double(arroyo.Operator):
    def __init__(self, factor: int):
        raise AssertionError("checking constructs nothing")
    def process(self, message):
        return message
"""


@pytest.fixture
def write(tmp_path):
    def write(chain=CHAIN, stages=STAGES):
        (tmp_path / "checked_stages.py").write_text(stages, "utf-8")
        (tmp_path / "chain.toml").write_text(chain, "utf-8")
        return tmp_path / "chain.toml"

    return write


def test_replicas_that_would_all_hand_over_everything_are_refused(write):
    chain = CHAIN.replace("[stages.numbers]", "[stages.numbers]\nreplicas = 2")
    assert check_in_child(write(chain)) == []
    alone = STAGES.replace("    def messages", "    shares_input = False\n    def messages")
    (found,) = check_in_child(write(chain, alone))
    assert "stages.numbers.replicas: replicas of checked_stages:Numbers can't share out" in found


def test_a_good_chain_has_no_problems_and_leaves_no_traces(write, tmp_path):
    assert check_in_child(write()) == []
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "state").exists()


def test_mistakes_of_all_kinds_are_told_at_once_in_the_order_of_the_file(write):
    path = write(
        CHAIN.replace("[stages.numbers]", "[stages.numbers]\nreplcas = 2\ncpus = [100000]")
        .replace("Double", "Doubel")
        .replace("[chain]", '[chain]\nmessages = ["checked_stages:Numbers"]')
    )
    found = check_in_child(path)
    assert [problem.removeprefix(f"{path}:").split(":")[:2] for problem in found] == [
        ["3", " chain.messages[0]"],
        ["7", " stages.numbers.replcas"],
        ["8", " stages.numbers.cpus[0]"],
        ["12", " stages.double.operator"],
    ]


def test_options_are_held_against_the_signature(write):
    (found,) = check_in_child(write(CHAIN.replace("factor = 2", 'factor = "two"')))
    assert "stages.double.options.factor: found 'two', expected a whole number" in found


def test_parameters_are_attributes_that_the_class_declares(write):
    chain = CHAIN.replace("options", "parameters = { limit = 5, at = 2026-01-02 }\noptions")
    found = check_in_child(write(chain, f"{STAGES}\n    at = None\n"))
    assert [problem.partition(": ")[2] for problem in found] == [
        "stages.double.parameters.at: found the date or time 2026-01-02; write it as text",
        "stages.double.parameters.limit: checked_stages:Double has neither an attribute 'limit' "
        "nor a method set_parameters(parameters); declare it in the class: limit = 5",
    ]


FOLD = (
    STAGES
    + """
    folds = True
    max_inputs = {max_inputs}
"""
)


def folding(write, max_inputs, *, window=100, replicas=1, stages=FOLD):
    chain = CHAIN.replace("[stages.numbers]", f"[stages.numbers]\nwindow = {window}")
    chain = chain.replace("[stages.double]", f"[stages.double]\nreplicas = {replicas}")
    return check_in_child(write(chain, stages.replace("{max_inputs}", max_inputs)))


@pytest.mark.parametrize(
    ("max_inputs", "replicas"), [("100", 1), ("50", 2), ("0", 1)], ids=["one", "two", "no bound"]
)
def test_a_fold_may_hold_as_much_as_the_window_of_its_source(write, max_inputs, replicas):
    assert folding(write, max_inputs, replicas=replicas) == []


@pytest.mark.parametrize(("max_inputs", "replicas", "least"), [("101", 1, 101), ("51", 2, 102)])
def test_a_fold_that_may_hold_more_than_the_window_would_wait_for_ever(
    write, max_inputs, replicas, least
):
    (found,) = folding(write, max_inputs, replicas=replicas)
    assert "stages.double.operator: checked_stages:Double may hold" in found
    assert "the window of numbers is 100" in found
    assert f"set stages.numbers.window to {least} or more, or lower max_inputs" in found


@pytest.mark.parametrize("max_inputs", ["-1", "'many'", "None"])
def test_a_bound_that_is_no_number_is_found(write, max_inputs):
    (found,) = folding(write, max_inputs)
    assert found.endswith("expected a number from 0 on")


def test_the_bound_of_an_operator_that_does_not_fold_is_no_matter(write):
    assert folding(write, "101", stages=FOLD.replace("folds = True", "folds = False")) == []


def test_a_module_that_crashes_the_child_is_one_sentence(write):
    (found,) = check_in_child(write(stages="import os; os.abort()"))
    assert "SIGABRT" in found


def test_a_module_that_exits_the_child_is_one_sentence(write):
    (found,) = check_in_child(write(stages="import os; os._exit(3)"))
    assert "exit code 3" in found


def test_a_module_that_hangs_does_not_outlive_whoever_had_it_checked(write, tmp_path):
    path = write(
        stages="import os, signal\n"
        f"with open({str(tmp_path / 'pid')!r}, 'w') as file:\n"
        "    print(os.getpid(), file=file)\n"
        "signal.pause()\n"
    )
    check = (
        "from arroyo.runner.user_code.checking import check_in_child\n"
        f"check_in_child({str(path)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", check]) as parent:
        pid = tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), lambda: "no import")
        parent.kill()
    wait_until(lambda: is_gone(int(pid.read_text())), lambda: f"{pid.read_text()} goes on")


def test_a_module_beside_the_chain_stands_in_for_no_other(write, tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert check_in_child(write()) == []


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    (found,) = check_chain(tmp_path / "none.toml", os.environ)
    assert "No such file" in found


BROKEN_IMPORTS = CHAIN.replace("checked_stages", "no_such_module")


def test_a_port_in_use_is_found_without_a_socket(write):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listen = f'[stages.numbers]\nlisten = "tcp://127.0.0.1:{port - 1}"'
        path = write(BROKEN_IMPORTS.replace("[stages.numbers]", listen))
        found = check_chain(path, os.environ)
    assert f"{path}:6: stages.numbers.listen: port {port} is in use by another program" in found
    found = check_chain(path, os.environ)
    assert not any(f"port {port} is in use" in problem for problem in found)


def test_a_stage_that_runs_already_may_use_its_own_ports(write, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listen = f'[stages.numbers]\nlisten = "tcp://127.0.0.1:{port}"'
        path = write(CHAIN.replace("[stages.numbers]", listen))
        directory = RunDirectory.locate("checked", os.environ)
        directory.create()
        lock = Lock.acquire(directory.lock("numbers.0"))
        try:
            assert check_in_child(path) == []
        finally:
            lock.release()
        assert len(check_in_child(path)) == 1


def test_a_run_directory_that_can_not_be_made_is_found(write, tmp_path):
    (tmp_path / "file").write_text("")
    environ = {"ARROYO_RUN_DIR": str(tmp_path / "file" / "run")}
    found = check_chain(write(BROKEN_IMPORTS), environ)
    assert any("is not a folder; set ARROYO_RUN_DIR" in problem for problem in found)


def test_metrics_without_their_library_are_a_mistake(write, monkeypatch):
    chain = write(CHAIN + '[supervisor]\nhttp = "127.0.0.1:9464"\n')
    assert check_chain(chain) == []
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    (found,) = check_chain(chain)
    assert "supervisor.http: this needs prometheus_client, which is not installed" in found


@pytest.mark.parametrize("program", ["./page", "no-such-pager", "/etc/passwd"])
def test_a_hook_that_can_not_be_run_is_a_mistake(write, program):
    (found,) = check_chain(write(CHAIN + f'[supervisor]\non_event = ["{program}"]\n'))
    assert f"supervisor.on_event: there is no program '{program}' that may be run" in found


def test_a_hook_may_be_beside_the_chain_file_or_installed(write):
    chain = write(CHAIN + '[supervisor]\non_event = ["sh"]\n')
    assert check_chain(chain) == []
    chain = write(CHAIN + '[supervisor]\non_event = ["./page"]\n')
    page = Path(chain).with_name("page")
    page.touch(0o700)
    assert check_chain(chain) == []


PROGRAM = """
[stages.server]
command = ["{program}"]
{keys}
"""


def test_a_program_that_can_not_be_run_is_a_mistake(write):
    (found,) = check_chain(write(CHAIN + PROGRAM.format(program="no-such-server", keys="")))
    assert "stages.server.command: there is no program 'no-such-server' that may be run" in found


def test_a_program_is_looked_for_where_it_will_be(write, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "serve").touch(0o700)
    keys = f'env = {{ PATH = "{tmp_path}/bin" }}'
    assert check_chain(write(CHAIN + PROGRAM.format(program="serve", keys=keys))) == []


def test_a_programs_port_that_is_taken_is_a_mistake(write):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        keys = f"ready = {{ port = {port} }}"
        (found,) = check_chain(write(CHAIN + PROGRAM.format(program="sh", keys=keys)))
    assert f"stages.server.ready: port {port} is in use by another program" in found


def test_a_process_with_a_thousand_files_open_can_have_a_chain_checked(write):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)]
    try:
        assert check_in_child(write()) == []
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
