import msgspec

from arroyo.messages import SlabReference


def test_a_reference_travels_without_the_names_of_its_fields():
    reference = SlabReference("arroyo-pool", 4096, 8, 3)
    packed = msgspec.msgpack.encode(reference)
    assert msgspec.msgpack.decode(packed) == ["arroyo-pool", 4096, 8, 3]
    assert msgspec.msgpack.decode(packed, type=SlabReference) == reference
