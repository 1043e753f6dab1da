"""`arroyo follow`: parameters of a chain that works, set by Redis and by a ZeroMQ socket."""

import json
import signal

import pytest
import redis
import zmq
from chains import PROGRAMS, listener, operator, publisher, wait_until

pytest_plugins = ["redis_server", "zeromq_peers"]

KEYS = "replicas = 2\nparameters = { level = 5 }"
KEY = "numbers:parameters"


@pytest.fixture
def make(make_chain):
    """Make a chain whose operator has a parameter, and more tables."""

    def make(*tables):
        return make_chain(
            listener("count", every_s=0.005, handed="handed"),
            operator("work", "Tuned", ["count"], keys=KEYS),
            publisher("write", ["work"]),
            *tables,
        )

    return make


def follows(*arguments):
    """The table of a program that follows, in the chain itself."""
    command = json.dumps([str(PROGRAMS / "arroyo"), "follow", "chain.toml", *arguments])
    return f"[stages.parameters]\ncommand = {command}\nready = 'notify'\n"


def levels(chain):
    return [line["metadata"]["level"] for line in chain.lines() if line["type"] == "Event"]


def wait_for_level(chain, level):
    wait_until(lambda: levels(chain)[-20:] == [[level, level]] * 20, chain.text)


def refusals(chain):
    lines = chain.command("events", "numbers", "--json").splitlines()
    return [told["message"] for told in map(json.loads, lines) if told["event"] == "refused"]


def stop(chain, supervisor):
    chain.command("stop", "numbers")
    assert supervisor.wait() == 0, chain.text()
    assert all(before == after for before, after in levels(chain))


def test_a_hash_of_redis_is_followed_from_the_start_through_its_mistakes_and_outages(
    make, lasting_redis_server
):
    server = lasting_redis_server
    client = redis.Redis.from_url(server.url)
    client.hset(KEY, "work.level", "7")
    chain = make(follows(server.url))
    supervisor = chain.supervise()
    chain.wait_until_ready()
    wait_for_level(chain, 7)
    assert levels(chain)[0] == [7, 7], "stages start when the program has set it"

    client.hset(KEY, "work.level", "-1")
    wait_until(lambda: any("a level is not negative" in each for each in refusals(chain)))
    client.hset(KEY, mapping={"work.level": "8", "wrok.level": "9", "work.leval": "9"})
    wait_until(lambda: any("did you mean 'work'?" in each for each in refusals(chain)))
    wait_until(lambda: any("did you mean 'level'?" in each for each in refusals(chain)))
    client.hdel(KEY, "work.leval")
    wait_for_level(chain, 8)
    assert "level = 8, set by pid" in chain.command("status", "numbers")

    server.kill()
    supervisor.wait_for("waiting: the Redis server")
    server.start()
    client.hset(KEY, "work.level", "10")
    wait_for_level(chain, 10)
    client.close()
    stop(chain, supervisor)


def test_programs_set_parameters_by_a_socket_and_are_answered(make, foreign):
    chain = make(follows("ipc://parameters.sock"))
    supervisor = chain.supervise()
    chain.wait_until_ready()
    path = chain.folder / "parameters.sock"
    assert path.stat().st_mode & 0o077 == 0, "for its user alone"
    client = foreign(zmq.REQ, connect=f"ipc://{path}")

    def ask(stage, **parameters):
        client.send_json({"stage": stage, "parameters": parameters})
        return client.recv_json()

    assert ask("work", level=7) == {"success": True, "msg": ""}
    wait_for_level(chain, 7)
    assert "a level is not negative" in ask("work", level=-1)["msg"]
    assert "did you mean 'work'?" in ask("wrok", level=8)["msg"]
    client.send(b"level=8")
    assert not client.recv_json()["success"]
    assert len(refusals(chain)) == 2
    assert ask("work", level=8)["success"]
    wait_for_level(chain, 8)
    stop(chain, supervisor)


def test_by_hand_it_waits_for_the_chain_and_sets_all_again_when_that_is_started_anew(
    make, redis_server
):
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset("mine", "work.level", "7")
    chain = make()
    follower = chain.start("arroyo", "follow", chain.path, redis_server.url, "--key", "mine")
    follower.wait_for("does not run; start it with")
    for _ in range(2):
        supervisor = chain.supervise()
        wait_for_level(chain, 7)
        stop(chain, supervisor)
        (chain.folder / "out.jsonl").unlink()
    follower.send(signal.SIGINT)
    assert follower.wait() == 130
    assert follower.text.count("work: level = 7") == 2


def test_a_server_with_a_password(make, locked_redis_server):
    with redis.Redis.from_url(locked_redis_server.url, password="sesame") as client:
        client.hset(KEY, "work.level", "7")
    chain = make(follows(locked_redis_server.url, "--password-env", "REDIS_PASSWORD"))
    chain.environ["REDIS_PASSWORD"] = "sesame"
    supervisor = chain.supervise()
    wait_for_level(chain, 7)
    stop(chain, supervisor)
