from arroyo.identifiers import ReplicaName
from arroyo.runner.state.link_places import LinkPlacesFile

PLACES = {"images.0": (7, 1234)}


def file_of(directory, replica=0):
    return LinkPlacesFile(directory, ReplicaName("look", replica))


def test_places_are_taken_once(chain_directory):
    file_of(chain_directory).leave(PLACES)
    assert file_of(chain_directory, 1).take() == {}
    assert file_of(chain_directory).take() == PLACES
    assert file_of(chain_directory).take() == {}


def test_a_stage_without_pub_sub_links_leaves_nothing(chain_directory):
    file_of(chain_directory).leave({})
    assert list((chain_directory.path / "status").iterdir()) == []


def test_a_chain_in_one_process_has_no_next_life():
    file_of(None).leave(PLACES)
    assert file_of(None).take() == {}


def test_a_damaged_file_says_nothing(chain_directory):
    (chain_directory.path / "status" / "look.0.places").write_bytes(b"nonsense")
    assert file_of(chain_directory).take() == {}


def test_a_full_disk_is_told_and_ends_nothing(chain_directory, caplog):
    (chain_directory.path / "status").rename(chain_directory.path / "gone")
    file_of(chain_directory).leave(PLACES)
    assert "won't be counted" in caplog.text
