from arroyo.cli.following.followed_fields import FollowedFields, Wanted

FIELDS = {b"integrate.threshold": b"700", b"integrate.mode": b"fast", b"file.every": b"[1, 2]"}


def values(wanted):
    return {each.stage: each.values for each in wanted}


def test_all_fields_are_wanted_at_first_and_then_what_has_changed():
    fields = FollowedFields()
    first = fields.wanted(FIELDS)
    assert values(first) == {
        "integrate": {"threshold": 700, "mode": "fast"},
        "file": {"every": [1, 2]},
    }
    assert fields.wanted(FIELDS) == first, "it has not been set yet"
    for each in first:
        fields.note_set(each)
    assert fields.wanted(FIELDS) == []
    changed = fields.wanted(FIELDS | {b"integrate.threshold": b"701"})
    assert values(changed) == {"integrate": {"threshold": 701}}
    assert fields.wanted({}) == [], "what is gone changes nothing"


def test_what_was_refused_is_wanted_again_with_the_rest_of_its_stage_once_it_is_corrected():
    fields = FollowedFields()
    spoilt = FIELDS | {b"integrate.threshold": b"7oo"}
    bad, good = fields.wanted(spoilt)
    fields.note_refusal(bad)
    fields.note_set(good)
    assert fields.wanted(spoilt) == []
    (corrected,) = fields.wanted(FIELDS)
    assert corrected == Wanted("integrate", {"threshold": "700", "mode": "fast"})
    fields.note_set(corrected)
    (again,) = fields.wanted(spoilt)
    assert again.texts == {"threshold": "7oo"}


def test_what_is_no_number_is_refused_once_only():
    fields = FollowedFields()
    (wanted,) = fields.wanted({b"integrate.threshold": b"nan"})
    fields.note_refusal(wanted)
    assert fields.wanted({b"integrate.threshold": b"nan"}) == []


def test_fields_of_any_form_are_wanted_and_the_supervisor_refuses_them():
    wanted = FollowedFields().wanted({b"threshold": b"7", b"a.b.c": b"\xff", b"": b""})
    assert values(wanted) == {"threshold": {"": 7}, "a": {"b.c": "\\xff"}, "": {"": ""}}
