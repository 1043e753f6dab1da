from arroyo.config.reading.key_lines import KeyLines

TEXT = '''\
# a comment = 1
[chain]
name = "powder"
description = """
name = "not a key"
[stages.fake]
"""

[stages.integrate]   # the second
inputs = [
    "images",
]
options.points = 1000
options = { points = 1 }
[stages."quoted"]
"key" = 1
'''


def line_of(place):
    return KeyLines("c.toml", TEXT).locate(f"{place}: wrong")


def test_a_key_is_found_at_its_line():
    assert line_of("chain.name") == "c.toml:3: chain.name: wrong"
    assert line_of("stages.integrate") == "c.toml:9: stages.integrate: wrong"
    assert line_of("stages.integrate.options.points").startswith("c.toml:13:")
    assert line_of("stages.quoted.key").startswith("c.toml:16:")


def test_a_key_without_a_line_of_its_own_has_that_of_what_it_is_in():
    assert line_of("stages.integrate.inputs[0].lnk").startswith("c.toml:10:")
    assert line_of("stages.integrate.replicas").startswith("c.toml:9:")


def test_text_of_many_lines_holds_no_keys():
    assert line_of("stages.fake") == "c.toml: stages.fake: wrong"


def test_problems_are_sorted_by_line_and_told_once():
    lines = KeyLines("c.toml", TEXT)
    assert lines.sort(["nowhere: x", "stages.integrate: x", "chain.name: x", "chain.name: x"]) == [
        "chain.name: x",
        "stages.integrate: x",
        "nowhere: x",
    ]
