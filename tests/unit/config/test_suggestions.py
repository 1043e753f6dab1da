from arroyo.config.suggestions import did_you_mean


def test_the_nearest_word_is_suggested():
    assert did_you_mean("replcas", ["name", "replicas"]) == "; did you mean 'replicas'?"
    assert did_you_mean("STAGE", ["stage"]) == "; did you mean 'stage'?"


def test_all_words_are_listed_where_none_is_near():
    assert did_you_mean("zzz", ["name", "replicas"]) == "; there are: name, replicas"


def test_nothing_is_said_where_nothing_is_known():
    assert did_you_mean("zzz", []) == ""
