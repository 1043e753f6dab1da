"""The chain made with arroyopy: its `ZMQListener`, and an operator and publisher as it has them.

The sockets are PULL and PUSH of `zmq.asyncio`, which the package leaves to its users, and a
message is one frame, as in the hand-written chain. Nothing is lost while no process dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import zmq
import zmq.asyncio

from arroyo.bench.case import Case, Measurement
from arroyo.bench.meter import Meter
from arroyo.bench.running.processes import Job, read_job, report_ready, run_processes


def run_arroyopy(case: Case) -> Measurement:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    return run_processes(__spec__.name, case, lambda folder, name: f"ipc://{folder}/{name}")


def make_publisher(job: Job, context: zmq.asyncio.Context) -> Any:
    """Make the publisher of a stage; the package has none for sockets."""
    from arroyopy.publisher import Publisher

    class SocketPublisher(Publisher):
        def __init__(self) -> None:
            self.socket = context.socket(zmq.PUSH)
            for address in job.outlets:
                self.socket.connect(address)

        async def publish(self, message: Any) -> None:
            await self.socket.send(message)

    return SocketPublisher()


async def send_all(job: Job, meter: Meter) -> None:
    """Do the work of the source, and wait for SIGTERM."""
    publisher, payload = make_publisher(job, zmq.asyncio.Context()), bytes(job.case.payload_bytes)
    report_ready()
    meter.begin()
    for _ in range(job.case.events):
        await publisher.publish(payload)
    await asyncio.Event().wait()


async def receive_all(job: Job, meter: Meter, end: Callable[[], NoReturn]) -> None:
    """Do the work of another stage."""
    from arroyopy.operator import Operator
    from arroyopy.zmq import ZMQListener

    class Stage(Operator):
        begun = False

        async def process(self, message: Any) -> None:
            if not self.begun:
                self.begun = True
                meter.begin()
            if self.publishers:
                await self.publish(message)
            elif meter.arrive():
                end()

    context = zmq.asyncio.Context()
    inlet = context.socket(zmq.PULL)
    inlet.bind(job.inlet)
    operator = Stage()
    if job.outlets:
        operator.add_publisher(make_publisher(job, context))
    report_ready()
    await ZMQListener(operator, inlet).start()


def main(job: Job) -> None:
    """Run until the sink has everything, or SIGTERM."""
    meter = Meter(job.notes, job.role, job.case.events)

    def end(*_: object) -> NoReturn:
        # Its listener takes a cancellation for a time-out and listens on, so no loop would end.
        meter.end()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    asyncio.run(send_all(job, meter) if job.role == "source" else receive_all(job, meter, end))


if __name__ == "__main__":
    main(read_job())
