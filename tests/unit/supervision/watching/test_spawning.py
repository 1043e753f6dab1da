import json
import os
import signal

from arroyo.supervision.watching.spawning import spawn

PROCESS = """
import json, os, signal, sys

def main(chain, name, run, state, descriptor):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    found = [chain, name, run, state, os.environ["OWN"], sorted(map(int, blocked))]
    os.write(descriptor, json.dumps(found).encode())
"""


def test_a_fresh_interpreter_gets_words_a_descriptor_and_its_environment(tmp_path, monkeypatch):
    (tmp_path / "spawned_for_a_test.py").write_text(PROCESS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    import spawned_for_a_test

    before = dict(os.environ), signal.pthread_sigmask(signal.SIG_BLOCK, [])
    words = "c.toml", "work.0", "run", "state"
    environ = {"PYTHONPATH": str(tmp_path), "OWN": "value"}
    told, tell = os.pipe()
    pid = spawn(spawned_for_a_test.main, words, environ, tell)
    os.close(tell)
    with open(told, encoding="utf-8") as answer:
        assert json.load(answer) == [*words, "value", [signal.SIGINT]]
    assert os.waitpid(pid, 0)[1] == 0
    assert (dict(os.environ), signal.pthread_sigmask(signal.SIG_BLOCK, [])) == before
