"""What an operator publishes, through the call of its `process()`."""

import asyncio
import threading

import pytest
from user_calls import call, count, later, on_one

from arroyo.errors import StageError
from arroyo.messages import Event
from arroyo.runner.user_code.error_policy import StageFailedError


def published_in(thread_of):
    """Publish in another thread, which ends before process() returns; pass its error on."""

    def does(operator, message):
        caught = []

        def publish():
            try:
                operator.publish(message)
            except StageError as error:
                caught.append(error)

        thread_of(publish)
        if caught:
            raise caught[0]

    return does


def in_a_thread(publish):
    thread = threading.Thread(target=publish, name="camera-7")
    thread.start()
    thread.join()


def in_a_timer(publish):
    timer = threading.Timer(0.0, publish)
    timer.start()
    timer.join()


@pytest.mark.parametrize("thread_of", [in_a_thread, in_a_timer])
def test_publishing_from_another_thread_is_an_error_there(thread_of):
    made, _ = call(published_in(thread_of), on_error="crash")
    with pytest.raises(StageFailedError, match=r"publish\(\) outside process\(\), in thread"):
        on_one(made, Event())
    assert made.errors == 2  # the refusal, and what process() raised


def test_publishing_after_process_has_returned_is_an_error_and_goes_into_no_other_message():
    made, operator = call(lambda _, message: message)
    on_one(made, Event())
    with pytest.raises(StageError, match="nothing was published"):
        operator.publish(Event())
    assert count(on_one(made, Event())) == 1
    made.methods.close()


@pytest.mark.parametrize("method", ["open", "close"])
def test_publishing_in_open_or_close_is_an_error(method):
    made, operator = call(later)
    setattr(operator, method, lambda: operator.publish(Event()))
    with pytest.raises(StageError, match="nothing was published"):
        getattr(made.methods, method)()


def test_a_task_that_is_left_behind_can_not_publish_into_the_next_message():
    refused = []

    async def publish_later(operator, message, gate):
        await gate.wait()
        try:
            operator.publish(message)
        except StageError as error:
            refused.append(error)

    async def leaves_a_task(operator, message):
        if operator.calls == 1:
            operator.gate = asyncio.Event()
            operator.task = asyncio.ensure_future(publish_later(operator, message, operator.gate))
        else:
            operator.gate.set()
            await operator.task
        return message

    made, _ = call(leaves_a_task)
    assert [count(on_one(made, Event())) for _ in range(2)] == [1, 1]
    assert len(refused) == 1
    made.methods.close()


def test_a_coroutine_may_publish_also_from_its_own_tasks_and_threads():
    async def does(operator, message):
        operator.publish(message)
        await asyncio.gather(publish_soon(operator, message))
        await asyncio.to_thread(operator.publish, message)

    async def publish_soon(operator, message):
        operator.publish(message)

    made, _ = call(does)
    assert count(on_one(made, Event())) == 3
    made.methods.close()


def test_coroutines_run_although_an_event_loop_runs_already():
    """As in a notebook."""
    made, _ = call(publish_later_and_return)

    async def cell():
        return count(on_one(made, Event()))

    assert asyncio.run(cell()) == 2
    made.methods.close()


async def publish_later_and_return(operator, message):
    await asyncio.sleep(0)
    operator.publish(message)
    return message


def test_nothing_that_was_published_before_an_error_goes_on():
    def publish_and_fail(operator, message):
        operator.publish(message)
        if operator.calls == 1:
            raise ValueError("half way")

    made, _ = call(publish_and_fail, on_error="retry", retries=1)
    assert count(on_one(made, Event())) == 1
