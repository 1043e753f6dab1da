import numpy as np
import pytest

from arroyo.errors import EncodeError
from arroyo.messages import Event
from arroyo.runner.user_code.dispatch_key import key_of


def test_a_key_is_the_same_for_the_same_value_only():
    one, same, other = (Event({"group": group}) for group in (1, 1, 2))
    assert key_of(one, "group") == key_of(same, "group") != key_of(other, "group")
    with pytest.raises(EncodeError, match="has no sample"):
        key_of(one, "sample")


def test_a_number_of_numpy_is_the_same_key_as_it_is_after_its_way():
    assert key_of(Event({"group": np.int64(3)}), "group") == key_of(Event({"group": 3}), "group")
