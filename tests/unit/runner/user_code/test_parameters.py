"""Which parameters a class has."""

import pytest

from arroyo import Operator
from arroyo.config.graph import Stage
from arroyo.runner.user_code.parameters import find_unsettable


class Attributes(Operator):
    level = 5
    mode: str

    def process(self, message):
        return message


class Inherits(Attributes):
    pass


class Takes:
    def set_parameters(self, parameters):
        pass


def problems(found, **parameters):
    stage = Stage("work", "operator", "own:Work", parameters=parameters)
    return list(find_unsettable(found, stage))


@pytest.mark.parametrize("found", [Attributes, Inherits, Attributes(), Takes, Takes()])
def test_attributes_of_the_class_and_set_parameters_will_do(found):
    assert problems(found, level=1, mode="fast") == []


def test_an_object_may_have_attributes_that_its_class_does_not_declare():
    made = Attributes()
    made.late = 1
    assert problems(made, late=2) == []


def test_what_nobody_would_take_is_named_with_what_to_do():
    (problem,) = problems(Attributes, treshold=500)
    assert problem == (
        "stages.work.parameters.treshold: own:Work has neither an attribute 'treshold' nor a "
        "method set_parameters(parameters); declare it in the class: treshold = 500"
    )


def test_a_method_is_no_parameter():
    (problem,) = problems(Attributes, process=1)
    assert "has a method of that name" in problem


class TakesKeywords:
    def set_parameters(self, *, level):
        pass


def test_set_parameters_takes_them_as_one_dict():
    (problem,) = problems(TakesKeywords, level=1)
    assert problem.startswith(
        "stages.work.operator: own:Work: set_parameters(*, level) is called with one dict of "
    )
    assert problems(TakesKeywords) == [], "without parameters it is the class's own affair"
