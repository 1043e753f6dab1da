import os
import stat
import subprocess
import sys
from pathlib import Path

from arroyo.identifiers import ReplicaName
from arroyo.shared_memory.files import owner_of, pool_name, pool_prefix, sweep
from arroyo.shared_memory.pool import SlabPool

IMAGES = ReplicaName("big-images", 1)

HOLD = """
import sys
from pathlib import Path
from arroyo.shared_memory.pool import SlabPool
pool = SlabPool(sys.argv[1], 1 << 20, 0, Path(sys.argv[2]))
print("made", flush=True)
sys.stdin.read()
"""


def test_a_name_tells_chain_replica_and_life(tmp_path):
    prefix = pool_prefix(tmp_path)
    name = pool_name(prefix, IMAGES, 1760000000000000000)
    assert name.endswith("-big-images.1-1760000000000000000")
    assert owner_of(name, prefix) == IMAGES
    assert owner_of(name, pool_prefix(tmp_path / "other")) is None


def test_one_run_directory_has_one_prefix_whatever_way_leads_there(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert pool_prefix(tmp_path / "link") == pool_prefix(tmp_path / "real")


def test_nothing_but_a_replica_and_a_life_may_follow_the_prefix():
    for rest in ("", "images.0", "images.0-", "images-3", "../images.0-3", "images.0-3/x", "i.0-x"):
        assert owner_of("p-" + rest, "p-") is None, rest


def test_the_pools_of_the_dead_are_swept_and_no_others(tmp_path):
    alive = ReplicaName("images", 1)
    for name in ("p-images.0-3", "p-images.0-4", "p-images.1-5", "q-images.0-3", "p-notes"):
        (tmp_path / name).touch()
    assert sweep("p-", lambda name: name == alive, tmp_path) == ["p-images.0-3", "p-images.0-4"]
    assert {path.name for path in tmp_path.iterdir()} == {"p-images.1-5", "q-images.0-3", "p-notes"}


def test_a_pool_made_while_another_process_sweeps_is_left_alone(tmp_path):
    (tmp_path / "p-images.0-3").touch()

    def is_owner_alive(name):
        (tmp_path / "p-images.0-4").touch()
        return False

    assert sweep("p-", is_owner_alive, tmp_path) == ["p-images.0-3"]
    assert (tmp_path / "p-images.0-4").exists()


def test_without_shared_memory_there_is_nothing_to_sweep(tmp_path):
    assert sweep("p-", lambda name: False, tmp_path / "missing") == []


def test_what_a_killed_process_leaves_is_swept(tmp_path):
    command = [sys.executable, "-c", HOLD, "p-images.0-3", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"made\n"
        assert sweep("p-", lambda name: owner.poll() is None, tmp_path) == []
        owner.kill()
    assert (tmp_path / "p-images.0-3").exists()
    assert sweep("p-", lambda name: owner.poll() is None, tmp_path) == ["p-images.0-3"]
    assert not (tmp_path / "p-images.0-3").exists()


def test_pools_lie_in_shared_memory_and_only_their_user_can_open_them():
    name = pool_name(pool_prefix(Path("/nonexistent")), IMAGES, os.getpid())
    pool = SlabPool(name, 1 << 20, 0)
    try:
        assert stat.S_IMODE(Path("/dev/shm", name).stat().st_mode) == 0o600
    finally:
        pool.close()
    assert not Path("/dev/shm", name).exists()
