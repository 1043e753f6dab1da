"""What a process takes, and may have; each is tried in a process of its own."""

import json
import os
import resource
import subprocess
import sys

import pytest

from arroyo.config.graph import Stage
from arroyo.errors import ConfigurationError
from arroyo.runner.process import resources
from arroyo.runner.process.resources import resource_problems

USE = """
import json, os, resource, sys
from arroyo.config.graph import Stage
from arroyo.errors import ConfigurationError
from arroyo.runner.process.resources import resource_problems, use_resources

keys = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
if sys.argv[2] == "ordinary" and os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
stage = Stage("work", "operator", "m:O", **keys)
problems = list(resource_problems(stage))
refused = ""
try:
    use_resources(stage)
except ConfigurationError as error:
    refused = str(error)
print(json.dumps({
    "cpus": sorted(os.sched_getaffinity(0)),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "open files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "problems": problems,
    "refused": refused,
}))
"""
NICE = os.getpriority(os.PRIO_PROCESS, 0)


def use(account="own", **keys):
    """Let a process take these resources; return what it has then, and what it was told."""
    command = [sys.executable, "-c", USE, json.dumps(keys), account]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_a_process_takes_what_its_stage_says():
    cpu = max(os.sched_getaffinity(0))
    found = use(cpus=[cpu], nice=NICE + 1, open_files=300)
    assert found["cpus"] == [cpu]
    assert found["nice"] == NICE + 1
    assert found["open files"] == [300, 300]
    assert (found["problems"], found["refused"]) == ([], "")


def test_a_process_of_which_nothing_is_said_stays_as_it_was():
    found = use("ordinary")
    assert found["cpus"] == sorted(os.sched_getaffinity(0))
    assert (found["nice"], found["open files"], found["refused"]) == (NICE, [256, 1024], "")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cpus": [0, 100_000]}, "stages.work.cpus[1]: there is no processor 100000"),
        ({"nice": NICE - 1}, f"stages.work.nice: found {NICE - 1}, and this account may have"),
        ({"open_files": 1025}, "open_files: found 1025, and this account may have 1024 at most"),
    ],
)
def test_what_an_account_can_not_have_is_told_before_and_refused(keys, words):
    found = use("ordinary", **keys)
    (problem,) = found["problems"]
    assert words in problem
    assert found["refused"] == problem
    assert found["open files"] == [256, 1024]


@pytest.mark.parametrize("keys", [{"nice": NICE - 1}, {"open_files": 2048}])
def test_root_may_have_more_unless_a_container_keeps_it_from_that(keys):
    found = use(**keys)
    assert found["refused"] == "".join(found["problems"])
    has_it = [found["nice"], found["open files"]] == [
        keys.get("nice", NICE),
        [keys.get("open_files", 256), keys.get("open_files", 1024)],
    ]
    assert has_it is not bool(found["refused"])


def test_nobody_may_have_more_files_than_the_kernel_can_count():
    (problem,) = resource_problems(Stage("work", "operator", "m:O", open_files=1 << 40))
    assert "at most" in problem


def test_what_the_kernel_refuses_all_the_same_is_told(monkeypatch):
    monkeypatch.setattr(resources, "resource_problems", lambda stage: iter(()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = "stages.work.open_files: 2305843009213693952 is refused"
    with pytest.raises(ConfigurationError, match=words):
        resources.use_resources(Stage("work", "operator", "m:O", open_files=1 << 61))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    processors = os.sched_getaffinity(0)
    with pytest.raises(ConfigurationError, match=r"cpus: \(5000,\) is refused: Invalid argument"):
        resources.use_resources(Stage("work", "operator", "m:O", cpus=(5000,)))
    assert os.sched_getaffinity(0) == processors
