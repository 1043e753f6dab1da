from arroyo.control.parameter_note import ParameterNote, read_parameters, write_parameters


def test_a_note_is_read_as_it_was_written(tmp_path):
    note = ParameterNote(3, {"level": 7, "mask": [1, 2.5]}, {"mode": "fast"})
    write_parameters(tmp_path / "work", note)
    assert read_parameters(tmp_path / "work") == note


def test_a_note_that_is_not_there_or_damaged_says_nothing(tmp_path):
    assert read_parameters(tmp_path / "work") is None
    (tmp_path / "work").write_bytes(b'{"number": ')
    assert read_parameters(tmp_path / "work") is None
    assert read_parameters(tmp_path) is None
