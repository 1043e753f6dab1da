import asyncio
from contextlib import aclosing

import pytest

from arroyo.dashboard.view_stream import ViewStream


class Looks:
    """Counts the looks at a chain."""

    def __init__(self):
        self.count = 0
        self.fails = False

    def __call__(self):
        if self.fails:
            raise MemoryError
        self.count += 1
        return b'{"look":%d}' % self.count


def follow(use, every_s=0.01):
    """Run `use(stream, looks)`; return what that returns."""

    async def run():
        looks = Looks()
        return await use(ViewStream(looks, every_s), looks)

    return asyncio.run(run())


async def take(stream, count):
    async with aclosing(stream.follow()) as views:
        return [await anext(views) for _ in range(count)]


def test_views_come_one_after_the_other_as_server_sent_events():
    views = follow(lambda stream, _: take(stream, 3))
    assert views == [b'data: {"look":%d}\n\n' % number for number in (1, 2, 3)]


def test_the_chain_is_looked_at_once_for_all_pages():
    async def use(stream, looks):
        every = await asyncio.gather(*[take(stream, 4) for _ in range(10)])
        return every, looks.count

    every, looks = follow(use)
    assert all(views == every[0] for views in every)
    assert looks <= 5


def test_a_page_that_comes_later_is_shown_something_at_once():
    async def use(stream, looks):
        async with aclosing(stream.follow()) as first:
            await anext(first)
            return await asyncio.wait_for(take(stream, 1), 5), looks.count

    views, looks = follow(use, every_s=3600.0)
    assert views == [b'data: {"look":1}\n\n']
    assert looks == 1


def test_a_slow_page_gets_the_newest_view_and_not_those_before():
    async def use(stream, looks):
        async with aclosing(stream.follow()) as views:
            await anext(views)
            while looks.count < 5:
                await asyncio.sleep(0.001)
            return await anext(views)

    view = follow(use)
    assert int(view.split(b":")[2].rstrip(b"}\n")) >= 4


def test_nobody_looks_at_the_chain_while_no_page_is_open():
    async def use(stream, looks):
        await take(stream, 2)
        await asyncio.sleep(0.1)
        before = looks.count
        await asyncio.sleep(0.1)
        assert looks.count == before
        return await take(stream, 1)

    (view,) = follow(use)
    assert view != b'data: {"look":1}\n\n', "what was seen long ago is shown as new"


def test_after_a_look_that_failed_the_next_page_has_the_chain_looked_at_again():
    async def use(stream, looks):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        looks.fails = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(take(stream, 1), 0.05)
        looks.fails = False
        return await take(stream, 1)

    assert follow(use) == [b'data: {"look":1}\n\n']
