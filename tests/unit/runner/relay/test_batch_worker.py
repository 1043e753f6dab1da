"""In which order a batch is worked on, let go of, sent on and counted, with fakes for the rest."""

from types import SimpleNamespace

import pytest
from batches import make_batch

from arroyo import Event, Stop
from arroyo.codec import Kind, Returned
from arroyo.runner.quarantine.requeue_route import RequeueRoute
from arroyo.runner.relay.batch_progress import WHOLE_S, Advice
from arroyo.runner.relay.batch_worker import BatchWorker
from arroyo.runner.relay.link_thread import NoLinkThread
from arroyo.runner.relay.retrying_caller import RetryingCaller
from arroyo.runner.user_code.results import ListedResults


class Stage:
    """Stands for all that a worker has to do with; notes in `done` what happens, in order."""

    flushing = None

    def __init__(self, equipment):
        self.done = []
        self.due = equipment.current_message.due
        self.after_each = lambda number: None
        self.run = None
        self.call = SimpleNamespace(make_results=ListedResults, errors=0, takes_lists=False)
        context = equipment.replica
        self.route = RequeueRoute(context.chain, context.name.stage, context.codec.encode)

    # The role

    def work_on(self, batch, work, results):
        for _, _, message in work:
            self.done.append(f"work {message.metadata['n']}")
            results.append(message.metadata["n"])
            self.after_each(message.metadata["n"])
            if self.due:
                break
        return results

    def hear(self, batch, work):
        self.done.append(f"hear {Kind(batch.kind).name}")
        return ["heard"]

    def let_pass(self, batch, work):
        self.done.append("let pass")
        return ["passed"]

    def do_without(self, batch, message):
        return "nothing"

    def place_returned(self, batch):
        return batch, self.run

    def let_go(self, batch, loans):
        self.done.append(f"let go {loans}")

    def count(self, batch, outcomes):
        self.done.append(f"count {len(outcomes)}")

    def note_sent(self):
        self.done.append("sent")

    # The machine

    def finish(self, batch, work, outcomes, message_s):
        self.finished = batch, [place for place, _, _ in work], list(outcomes)
        return ["finish"]

    def hand_on(self, batch, done, outcomes):
        return [f"hand on {list(outcomes)}"], batch

    def perform(self, actions):
        self.done += actions

    # The batch in hand

    def put_down_first(self, count):
        return [f"first {count}"]

    def put_down_all(self, count, *, whole):
        return [f"last {count}"] if not whole else []

    # The run of what came back

    def begin(self, batch):
        self.done.append("begin")
        return batch

    def end(self, batch):
        self.done.append("end")
        return batch

    def look_after(self):
        self.done.append("look after")


class Running:
    """A clock that a test sets."""

    now = 0.0

    def read(self):
        return self.now

    read_roughly = read


@pytest.fixture
def stage(equipment):
    return Stage(equipment)


@pytest.fixture
def running():
    return Running()


@pytest.fixture
def worker(equipment, stage, running):
    latencies = SimpleNamespace(note=lambda batch, messages, begun_ns, done_ns: None)
    return BatchWorker(
        equipment,
        stage,
        stage,
        stage,
        RetryingCaller(equipment.replica, NoLinkThread(), lambda: None),
        latencies=latencies,
        running=running,
        perform=stage.perform,
        look_after=stage.look_after,
        write_status=lambda: stage.done.append("write status"),
    )


def events(count):
    return [(place, (), Event({"n": place})) for place in range(count)]


def test_a_quick_batch_goes_on_whole_and_is_counted_after_that(worker, stage):
    worker.work_off(make_batch(), events(2))
    assert stage.done == ["work 0", "work 1", "finish", "count 2", "sent"]
    assert stage.finished[1:] == ([0, 1], [0, 1])


def test_the_message_is_put_down_before_anything_of_it_leaves(worker, stage, context):
    context.begin_batch(make_batch())
    found = []
    stage.after_each = lambda number: found.append(context.counts["hand_source"])
    stage.finish = lambda *_: found.append(context.counts["hand_source"]) or []
    worker.work_off(make_batch(), events(2))
    assert found == [1, 1, 0]


def test_the_time_of_one_message_is_told_above(worker, stage, context):
    stage.after_each = lambda number: context.clock.advance(1.0)
    worker.work_off(make_batch(), events(2))
    assert worker.message_s == pytest.approx(0.25)  # of 1 s, after so many of no time
    worker.work_off(make_batch(kind=Kind.STOP), [(0, (), Stop())])
    assert worker.message_s == pytest.approx(0.25)


def test_a_start_or_stop_is_heard_and_not_counted(worker, stage):
    worker.work_off(make_batch(kind=Kind.STOP), [(0, (), Stop())])
    assert stage.done == ["hear STOP", "finish", "sent"]


def test_what_came_of_the_first_messages_goes_on_where_a_batch_is_slow(worker, stage, running):
    def look(number):
        if number == 1:
            running.now += WHOLE_S
            assert worker.has_results_waiting
            assert worker.look(0.0) is Advice.CUT

    stage.after_each = look
    worker.work_off(make_batch(ranges=((0, 4),)), events(4))
    assert stage.done == [
        *("work 0", "work 1", "let go ['first 2']", "hand on [0, 1]", "count 2", "sent"),
        *("write status", "look after", "work 2", "work 3"),
        *("finish", "count 2", "sent"),
    ]
    assert stage.finished[1:] == ([2, 3], [2, 3])


def test_results_go_on_while_the_code_stays_with_one_message(worker, stage, running):
    def look(number):
        if number == 0:
            running.now += 1.0
            worker.look(0.0)  # it has come on since the batch began
            stage.due.clear()
        if number == 1:
            worker.look(0.0)
            running.now += 1.0
            assert worker.look(0.0) is Advice.TAKE

    stage.after_each = look
    worker.work_off(make_batch(ranges=((0, 3),)), events(3))
    assert "hand on [0, 1]" in stage.done
    assert stage.done.index("hand on [0, 1]") < stage.done.index("work 2")
    assert stage.finished[1:] == ([2], [2])


def test_there_is_nothing_to_send_on_where_no_batch_is_worked_on(worker, stage):
    assert worker.look(0.0) is Advice.TAKE
    assert not worker.has_results_waiting
    assert stage.done == []


def test_others_have_their_turns_between_messages_in_a_shared_thread(worker, stage, context):
    context.shares_thread = True
    context.give_way = lambda: stage.done.append("give way")
    worker.work_off(make_batch(), events(2))
    assert [each for each in stage.done if each.startswith(("work", "give", "look"))] == [
        "work 0",
        "give way",
        "look after",
        "work 1",
    ]


BACK = Returned("r", 1, 4)


def test_what_came_back_is_worked_on_within_its_run(worker, stage):
    stage.run = stage
    worker.work_off(make_batch(enters="work", returned=BACK), events(1))
    assert stage.done[:3] == ["begin", "work 0", "end"]
    assert stage.finished[0].enters == ""  # from here on it goes all ways


def test_what_came_back_for_another_stage_passes(worker, stage):
    stage.run = stage
    worker.work_off(make_batch(enters="sink", returned=BACK), events(1))
    assert stage.done == ["let pass", "finish", "sent"]
    assert stage.finished[0].enters == "sink"
