import pytest

from arroyo.identifiers import ReplicaName, digest, is_name, new_epoch, new_run


def test_the_name_of_a_replica_is_read_back_as_it_was_written():
    name = ReplicaName("images", 3)
    assert str(name) == "images.3"
    assert ReplicaName.parse("images.3") == name


@pytest.mark.parametrize("text", ["images", "images.", ".3", "images.-1", "images.x", "a/b.0"])
def test_what_names_no_replica_is_refused(text):
    with pytest.raises(ValueError, match="is not of the form STAGE"):
        ReplicaName.parse(text)


@pytest.mark.parametrize("text", ["", "..", "a/b", "a b", "../etc", "a\n"])
def test_a_name_leads_to_no_other_folder(text):
    assert not is_name(text)


def test_a_digest_is_the_same_on_every_call_and_of_16_digits():
    assert digest(b"powder") == digest(b"powder") != digest(b"redwop")
    assert len(digest(b"")) == 16


def test_runs_and_epochs_of_one_moment_differ():
    assert len({new_run() for _ in range(100)}) == 100
    epochs = {new_epoch() for _ in range(100)}
    assert len(epochs) == 100
    assert max(epochs) < 1 << 62
