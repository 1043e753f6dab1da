"""Stages that keep payloads beyond the call that they were given in: they stay what they were."""

import contextlib
import json

import pytest
from chains import indices, publisher, totals, wait_until

IMAGES = 200
WINDOW = 8
KEPT = 50

# Each image has its index in every pixel, so that one that was written over shows.
STAGES = """
import numpy as np

from arroyo import Event, Listener, Operator, Publisher, Start, Stop
from own_stages import wait_for

SHAPE = 512, 512


def wrong(images):
    # Neighbours among the kept ones have neighbouring indices.
    first = int(images[0].flat[0]) if images else 0
    return sum(not (image == first + index).all() for index, image in enumerate(images))


class Images(Listener):
    def __init__(self, operator, images):
        super().__init__(operator)
        self.images = images

    def start(self):
        self.operator.process(Start())
        for index in range(self.images):
            pixels = np.full(SHAPE, index, "i4")
            self.operator.process(Event.from_array(pixels, index=index))
        self.operator.process(Stop())

    def stop(self):
        pass


class FirstAlone(Images):
    # The others come when somebody has the first image, so that they are in no batch with it.
    def start(self):
        self.operator.process(Start())
        for index in range(self.images):
            pixels = np.full(SHAPE, index, "i4")
            self.operator.process(Event.from_array(pixels, index=index))
            wait_for("holds")
        self.operator.process(Stop())


class RunningMedian(Operator):
    def __init__(self, kept):
        self.kept = kept
        self.last = []

    def process(self, message):
        if not isinstance(message, Event):
            return message
        self.last = self.last[1 - self.kept :] + [self.keep(message)]
        row = np.median([image[100] for image in self.last], axis=0)
        index = message.metadata["index"]
        first = max(0, index + 1 - self.kept)
        bad = int((row != (first + index) / 2).sum())
        return Event({"index": index, "wrong": bad + wrong(self.last)})

    def keep(self, message):
        return message.array


class RunningMedianOfRows(RunningMedian):
    def keep(self, message):
        return message.array[::2]


class RunningMedianOfMessages(RunningMedian):
    def keep(self, message):
        return np.frombuffer(memoryview(message.payload), "i4").reshape(SHAPE)


class MedianOfTen(RunningMedian):
    max_inputs = 5

    def __init__(self, kept):
        super().__init__(kept)
        self.count = 0

    def process(self, message):
        if isinstance(message, Start):
            self.last, self.count = [], 0
        made = super().process(message)
        if not isinstance(message, Event):
            return made
        self.count += 1
        return made if self.count % 5 == 0 else None


class Holds(Operator):
    # At the first image it looks until the gate opens, which one of two replicas does.
    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == 0:
            try:
                open("holds", "x").close()
            except FileExistsError:
                return message
            wait_for("gate")
            with open("seen", "w") as file:
                print(sorted(set(message.array.ravel().tolist())), file=file)
        return message


class KeepsLater(Operator):
    # Keeps nothing for long, so that nobody expects it, and then some; it may also get slow.
    def __init__(self, pause_s):
        self.pause_s, self.kept = pause_s, {}

    def process(self, message):
        if not isinstance(message, Event):
            return message
        index = message.metadata["index"]
        if index >= 100 and index % 25 == 0:
            import time
            self.kept[index] = message.array
            time.sleep(self.pause_s)  # it got slow
        bad = sum(not (image == index).all() for index, image in self.kept.items())
        return Event({"index": index, "wrong": bad})


class Pass(Operator):
    def process(self, message):
        return message


class Tidy(Operator):
    # Keeps nothing; in all ways in which a stage may work.
    def __init__(self, way):
        self.process = getattr(self, way)

    def returns(self, message):
        if isinstance(message, Event):
            return Event(message.metadata | {"wrong": wrong([message.array])})
        return message

    process = returns

    def yields(self, message):
        array = message.array if isinstance(message, Event) else None
        yield self.returns(message)

    async def awaits(self, message):
        array = message.array if isinstance(message, Event) else None
        return self.returns(message)

    def raises(self, message):
        array = message.array if isinstance(message, Event) else None
        made = self.returns(message)
        if isinstance(message, Event) and message.metadata["index"] % 4 == 0:
            raise ValueError("every fourth")
        return made

    def crops(self, message):
        if isinstance(message, Event):
            return Event.from_array(message.array[:256], **message.metadata, wrong=0)
        return message


class WriteKept(Publisher):
    def __init__(self, path, kept):
        self.path, self.kept, self.last = path, kept, []

    def open(self):
        self.file = open(self.path, "a")

    def publish(self, message):
        line = {"type": type(message).__name__}
        if isinstance(message, Stop):
            line["data"] = message.data
        if isinstance(message, Event):
            self.last = self.last[1 - self.kept :] + [message.array]
            line["metadata"] = message.metadata | {"wrong": wrong(self.last)}
        import json
        print(json.dumps(line), file=self.file, flush=True)

    def close(self):
        self.file.close()
"""


@pytest.fixture
def run(make_chain):
    def run(*tables, in_process=False):
        chain = make_chain(images(), *tables)
        (chain.folder / "kept_stages.py").write_text(STAGES)
        supervisor = chain.supervise(*(["--in-process"] if in_process else []))
        assert supervisor.wait(60) == 0, chain.text()
        assert totals(chain.lines())["complete"]
        return chain

    return run


def images(kind="Images"):
    return (
        f'[stages.images]\nlistener = "kept_stages:{kind}"\nwindow = {WINDOW}\n'
        f"options = {{ images = {IMAGES} }}\n"
    )


def median(kind, kept=KEPT, inputs="images"):
    return (
        f'[stages.median]\noperator = "kept_stages:{kind}"\ninputs = ["{inputs}"]\n'
        f"options = {{ kept = {kept} }}\n"
    )


def events(chain):
    return [line["metadata"] for line in chain.lines() if line["type"] == "Event"]


def warnings(chain, stage):
    log = chain.run_directory.path / "log" / f"{stage}.0.jsonl"
    records = map(json.loads, log.read_text().splitlines())
    return [record["message"] for record in records if "event.copy()" in record["message"]]


KINDS = ["RunningMedian", "RunningMedianOfRows", "RunningMedianOfMessages"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_may_keep_views(run, kind):
    chain = run(median(kind), publisher("write", ["median"]))
    assert [each["index"] for each in events(chain)] == list(range(IMAGES))
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES
    assert len(warnings(chain, "median")) == 1


def test_a_publisher_may_keep_views(run):
    write = publisher("write", ["pass"], "kept_stages:WriteKept", kept=KEPT)
    between = '[stages.pass]\noperator = "kept_stages:Pass"\ninputs = ["images"]\n'
    chain = run(between, write)
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES
    assert len(warnings(chain, "write")) == 1


@pytest.mark.parametrize("order", ["", 'order = "source"\n'])
def test_a_fold_may_keep_views_beyond_its_outputs(run, order):
    table = median("MedianOfTen").replace("options", f"{order}options")
    chain = run(table, publisher("write", ["median"]))
    assert [each["wrong"] for each in events(chain)] == [0] * (IMAGES // 5)
    assert len(warnings(chain, "median")) == 1


def test_a_stage_that_restores_order_may_keep_views(run):
    between = '[stages.pass]\noperator = "kept_stages:Pass"\ninputs = ["images"]\nreplicas = 2\n'
    table = median("RunningMedian", inputs="pass").replace("options", 'order = "source"\noptions')
    chain = run(between, table, publisher("write", ["median"]))
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES
    assert len(warnings(chain, "median")) == 1


def test_an_operator_may_keep_the_last_view_only(run):
    chain = run(median("RunningMedian", kept=2), publisher("write", ["median"]))
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_an_operator_may_begin_to_keep_views_late(run, pause_s):
    table = median("KeepsLater").replace(f"kept = {KEPT}", f"pause_s = {pause_s}")
    chain = run(table, publisher("write", ["median"]))
    assert [each["index"] for each in events(chain)] == list(range(IMAGES))
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES


@pytest.mark.parametrize("way", ["returns", "yields", "awaits", "raises", "crops"])
def test_a_stage_that_keeps_nothing_gets_no_copies(run, way):
    table = median("Tidy", inputs="images").replace(f"kept = {KEPT}", f'way = "{way}"')
    table = table.replace("options", 'on_error = "skip"\noptions')
    chain = run(table, publisher("write", ["median"]))
    assert {each["wrong"] for each in events(chain)} == {0}
    assert warnings(chain, "median") == []


def test_an_image_in_hand_stays_what_it_is_when_another_replica_finishes_it(make_chain):
    holds = '[stages.holds]\noperator = "kept_stages:Holds"\ninputs = ["images"]\nreplicas = 2\n'
    chain = make_chain(images("FirstAlone"), holds, publisher("write", ["holds"]))
    (chain.folder / "kept_stages.py").write_text(STAGES)
    supervisor = chain.supervise()

    def published():
        return set(indices(chain.lines()))

    wait_until(lambda: (chain.folder / "holds").exists() and published(), chain.text)
    # The other replica works, and gets what comes again. Not at once perhaps; but when that waits
    # for the first one, this has less to do.
    for last in (False, False, True):
        wait_until(lambda: "write.0" in chain.pids(), chain.text)
        chain.kill("write.0")
        # Beyond the window: the first image is finished, and slabs are used again.
        with contextlib.nullcontext() if last else contextlib.suppress(pytest.fail.Exception):
            wait_until(lambda: max(published()) > WINDOW, chain.text, 30.0 if last else 3.0)
            break
    chain.open_gate()
    assert supervisor.wait(60) == 0, chain.text()
    assert (chain.folder / "seen").read_text() == "[0]\n"


def test_in_one_process_views_may_be_kept_as_well(run):
    chain = run(median("RunningMedian"), publisher("write", ["median"]), in_process=True)
    assert [each["wrong"] for each in events(chain)] == [0] * IMAGES
