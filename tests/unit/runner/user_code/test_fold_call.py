import pytest
from user_calls import current_message, work

from arroyo.codec import MessageCodec, Reason, join
from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Event, Origin, Start, Stop
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.runner.user_code.fold_call import FoldCall
from arroyo.runner.user_code.operator_call import OperatorCall
from arroyo.stages import Operator

CODEC = MessageCodec(())
RUN = "s.0", "r"


class Doing(Operator):
    """An operator that does what a function says."""

    folds = True

    def __init__(self, does):
        self.does = does

    def process(self, message):
        return self.does(self, message)


class Holding(Doing):
    """Holds what a test says."""

    holds = ()

    def held(self):
        return self.holds


def call(operator, key_field=None, **settings):
    stage = Stage(name="fold", role="operator", target="own:Doing", **settings)
    current = current_message(*reversed(RUN))
    calls = OperatorCall(stage, operator, CODEC, current, key_field=key_field)
    return FoldCall(stage, operator, calls, CODEC, current)


def event(number):
    message = Event({"n": number})
    message._origin = Origin("r", "s.0", 1, number)
    return message


def decoded(output):
    return list(CODEC.decode(bytes(join(output.items)[0]), (), ())) if output.items else []


def test_held_may_also_be_the_name_of_what_an_operator_keeps():
    operator = Doing(lambda _, message: message)
    operator.held = []
    (folded,) = call(operator).folded(RUN, work([event(0)], 0))
    assert folded.still_held is None


def test_an_input_becomes_nothing_one_output_or_several():
    made = call(Doing(lambda _, message: [message] * message.metadata["n"]))
    folded = made.folded(RUN, work(map(event, range(3))))
    assert [len(each.output.items) for each in folded] == [0, 1, 2]
    assert [each.output.reason for each in folded] == [Reason.FILTERED, None, None]
    assert all(each.output.size == sum(map(len, each.output.items)) for each in folded)
    assert {each.still_held for each in folded} == {None}


def test_what_raises_is_in_no_output():
    def fail(operator, message):
        raise ValueError("no")

    (folded,) = call(Doing(fail), on_error="skip").folded(RUN, work([event(0)], 0))
    assert folded.output.reason == Reason.SKIPPED


def test_after_each_input_it_says_what_it_still_holds():
    def hold_two(operator, message):
        operator.holds = [*operator.holds, message][-2:]

    folded = call(Holding(hold_two)).folded(RUN, work(map(event, range(3))))
    assert [sorted(each.still_held) for each in folded] == [
        [event(0).origin],
        [event(0).origin, event(1).origin],
        [event(1).origin, event(2).origin],
    ]


def test_a_copy_of_an_input_stands_for_it():
    def hold_a_copy(operator, message):
        operator.holds = [message.copy()]

    (folded,) = call(Holding(hold_a_copy)).folded(RUN, work([event(4)], 4))
    assert folded.still_held == {event(4).origin}


def test_it_can_hold_only_what_came_in():
    def hold_another(operator, message):
        operator.holds = [Event()]

    with pytest.raises(StageError, match=r"held\(\) of own:Doing named a message that did not"):
        call(Holding(hold_another)).folded(RUN, work([event(0)], 0))


def take(made, *numbers, run=RUN):
    return made.folded(run, [(number, (), event(number)) for number in numbers])


def holding_at_most(max_inputs, does, kind=Doing):
    operator = kind(does)
    operator.max_inputs = max_inputs
    return call(operator)


def give_out_thirds(_, message):
    return message if isinstance(message, Event) and message.metadata["n"] % 3 == 2 else None


def test_more_inputs_than_it_said_are_an_error_of_its_class():
    made = holding_at_most(2, give_out_thirds)
    take(made, 0, 1, 2, 3, 4, 5, 6, 7)
    take(made, 0, 1, run=("t.0", "r"))
    with pytest.raises(StageError, match=r"own:Doing holds 3 inputs .*, but its max_inputs is 2"):
        take(made, 7)


def test_inputs_that_are_given_up_or_given_out_at_the_stop_are_not_held():
    def fail_once(operator, message):
        if isinstance(message, Event) and message.metadata["n"] == 0:
            raise ValueError("no")

    operator = Doing(fail_once)
    operator.max_inputs = 2
    made = call(operator, on_error="skip")
    take(made, 0, 1, 2)
    made.stop(RUN, STOP)
    take(made, 1, 2)


def test_one_that_says_what_it_holds_may_hold_no_more_than_it_said_either():
    def hold_all(operator, message):
        operator.holds = [*operator.holds, message]
        return message

    made = holding_at_most(2, hold_all, Holding)
    take(made, 0, 1)
    with pytest.raises(StageError, match="holds 3 inputs"):
        take(made, 2)


def test_without_a_bound_any_number_is_taken():
    take(call(Doing(lambda *_: None)), *range(1000))


def test_a_stop_that_was_announced_is_told_again_only_after_another_input():
    heard = []
    made = call(Doing(lambda _, message: heard.append(type(message))))
    take(made, 0)
    for _ in range(2):
        assert made.stop(RUN, STOP)[1] is STOP
    take(made, 1)
    made.stop(RUN, STOP)
    assert heard == [Event, Stop, Event, Stop]


STOP = Stop({"reason": "done"})


@pytest.mark.parametrize(
    ("returned", "events", "data"),
    [
        (None, 0, {"reason": "done"}),
        ([Event(), Event()], 2, {"reason": "done"}),
        ([Event(), STOP], 1, {"reason": "done"}),
        ([Stop({"mine": 1}), Event()], 1, {"mine": 1}),
    ],
    ids=["nothing", "events", "events and the Stop", "a Stop of its own"],
)
def test_for_a_stop_events_are_given_out_and_one_stop_goes_on(returned, events, data):
    output, stop = call(Doing(lambda _, message: returned)).stop(RUN, STOP)
    assert (len(output.items), stop.data) == (events, data)
    assert output.size == sum(map(len, output.items))


def test_what_is_published_on_a_stop_is_given_out_as_well():
    def publish(operator, message):
        operator.publish(Event({"n": 1}))
        return [Event({"n": 2}), message]

    output, _ = call(Doing(publish)).stop(RUN, STOP)
    assert [each.metadata["n"] for each in decoded(output)] == [1, 2]


def test_outputs_at_a_stop_have_the_key_that_a_stage_below_asks_for():
    outputs = [Event({"group": group}) for group in (1, 2, 1)]
    output, _ = call(Doing(lambda _, message: outputs), "group").stop(RUN, STOP)
    assert output.keys[0] == output.keys[2] != output.keys[1]


def test_a_start_for_a_stop_is_an_error_of_the_stage():
    with pytest.raises(StageError, match="got Stop and returned Start"):
        call(Doing(lambda _, message: Start())).stop(RUN, STOP)


def test_a_stage_that_raises_on_a_stop_fails_whatever_on_error_says():
    """What it held of the run would be lost otherwise."""

    def fail(operator, message):
        raise ValueError("no")

    made = call(Doing(fail), on_error="skip")
    with pytest.raises(StageFailedError, match="ValueError: no on a Stop") as failure:
        made.stop(RUN, STOP)
    assert isinstance(failure.value.__cause__, ValueError)
    assert made.errors == 1


@pytest.mark.parametrize(
    "returned",
    [Event({"t": object()}), [Event({"n": 1}), Event({"t": object()})], Stop({"t": object()})],
    ids=["an event", "the last of several", "the Stop"],
)
def test_what_can_not_be_sent_at_a_stop_fails_the_stage_as_raising_does(returned):
    made = call(Doing(lambda _, message: returned), on_error="skip")
    with pytest.raises(StageFailedError, match=r"own:Doing raised EncodeError: .* on a Stop, with"):
        made.stop(RUN, STOP)
    assert made.errors == 1


def test_after_a_stop_that_failed_it_is_told_of_the_next_one_and_nothing_is_left_over():
    fails = [True]

    def fail_once(operator, message):
        operator.publish(Event({"failed": bool(fails)}))
        if fails:
            raise ValueError(fails.pop())

    made = call(Doing(fail_once))
    with pytest.raises(StageFailedError):
        made.stop(RUN, STOP)
    output, _ = made.stop(RUN, STOP)
    assert [each.metadata for each in decoded(output)] == [{"failed": False}]


def test_a_server_that_is_away_at_a_stop_is_no_error_of_the_stage():
    def ask(operator, message):
        raise UnavailableError("no server")

    made = call(Doing(ask))
    with pytest.raises(UnavailableError):
        made.stop(RUN, STOP)
    assert made.errors == 0
