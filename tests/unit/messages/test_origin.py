import pytest

from arroyo.messages import Origin, origin_key


@pytest.mark.parametrize(
    ("origin", "control", "key"),
    [
        (Origin("r", "s.0", 7, 12), "", "s.0/r/12"),
        (Origin("r", "s.0", 7, -1), "start", "s.0/r/start"),
        (Origin("r", "s.0", 7, 12, path=2), "", "s.0/r/12@2"),
        (Origin("r", "s.0", 7, 12, fragment=((1, 3), (0, 2))), "", "s.0/r/12.1.0"),
    ],
)
def test_a_key_tells_source_run_place_part_and_path(origin, control, key):
    assert origin_key(origin, control) == key


def test_a_key_is_the_same_in_every_life_of_the_source():
    assert origin_key(Origin("r", "s.0", 1, 4)) == origin_key(Origin("r", "s.0", 2, 4))
