"""Coroutines of async stages, run to their end from code that is not async."""

import asyncio
import contextvars
import threading

import pytest

from arroyo.stages._awaiter import NOTHING, Awaiter, FinishedCall


@pytest.fixture
def awaiter():
    awaiter = Awaiter()
    yield awaiter
    awaiter.close()


async def the_loop():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


def test_all_coroutines_run_on_one_loop(awaiter):
    assert awaiter.finish(the_loop()) is awaiter.finish(the_loop())


def test_any_thread_may_call_it(awaiter):
    found = [awaiter.finish(the_loop())]
    thread = threading.Thread(target=lambda: found.append(awaiter.finish(the_loop())))
    thread.start()
    thread.join()
    assert found[0] is found[1]


def test_where_a_loop_runs_already_another_thread_does_the_work(awaiter):
    async def notebook():
        return asyncio.get_running_loop(), awaiter.finish(the_loop())

    own, its = asyncio.run(notebook())
    assert its is not own
    assert awaiter.finish(the_loop()) is its  # also without one, later


def test_what_a_coroutine_raises_comes_out(awaiter):
    async def fail():
        raise LookupError("no such motor")

    with pytest.raises(LookupError, match="no such motor"):
        awaiter.finish(fail())
    assert not awaiter.busy


def test_an_async_generator_is_collected(awaiter):
    async def count():
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    assert awaiter.collect(count()) == [0, 1, 2]


def test_a_caller_is_who_belongs_to_the_coroutine_that_is_run(awaiter):
    """Its tasks and threads do too; a thread of somebody else does not."""
    found = {}

    def look(name):
        found[name] = awaiter.is_caller

    async def work():
        look("coroutine")
        await asyncio.gather(asyncio.create_task(as_task()), asyncio.to_thread(look, "thread"))
        other = threading.Thread(target=contextvars.Context().run, args=(look, "another's"))
        other.start()
        other.join()
        assert awaiter.busy

    async def as_task():
        look("task")

    awaiter.finish(work())
    look("afterwards")
    assert found == {
        "coroutine": True,
        "task": True,
        "thread": True,
        "another's": False,
        "afterwards": False,
    }


def test_a_task_that_an_earlier_call_has_left_is_no_caller_of_a_later_one(awaiter):
    found, tasks = [], []

    async def leave():
        tasks.append(asyncio.create_task(linger()))

    async def linger():
        await asyncio.sleep(0)
        found.append((awaiter.busy, awaiter.is_caller))

    async def wait():
        await tasks[0]

    awaiter.finish(leave())
    awaiter.finish(wait())
    assert found == [(True, False)]


def test_its_end_cancels_what_still_runs_and_may_come_twice():
    awaiter, ended = Awaiter(), []

    async def leave():
        task = asyncio.create_task(asyncio.Event().wait())
        task.add_done_callback(lambda task: ended.append(task.cancelled()))
        await asyncio.sleep(0)

    awaiter.finish(leave())
    assert ended == []
    awaiter.close()
    awaiter.close()
    assert ended == [True]


def test_a_call_that_has_run_already_can_be_awaited(awaiter):
    async def publish():
        return await FinishedCall("done"), await NOTHING

    assert awaiter.finish(publish()) == ("done", None)
