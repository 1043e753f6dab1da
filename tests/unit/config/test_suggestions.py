from arroyo.config.suggestions import did_you_mean, find_nearest


def test_the_nearest_word_is_suggested():
    assert did_you_mean("replcas", ["name", "replicas"]) == "; did you mean 'replicas'?"
    assert did_you_mean("STAGE", ["stage"]) == "; did you mean 'stage'?"


def test_all_words_are_listed_where_none_is_near():
    assert did_you_mean("zzz", ["name", "replicas"]) == "; there are: name, replicas"


def test_a_word_that_is_nearly_another_is_found_and_no_other():
    assert find_nearest("Proces", ["publish", "process"]) == "process"
    assert find_nearest("work", ["publish", "process"]) is None


def test_nothing_is_said_where_nothing_is_known():
    assert did_you_mean("zzz", []) == ""
