"""The chain made with iceoryx2: publish-subscribe in shared memory, and an event for each message.

Its services drop the oldest message by default; here the publisher waits for room, which its
documentation has for what must not be lost. It does so only once the subscriber has connected, so
the source waits for that. A message can't be passed on to another service by reference: each stage
copies it into memory of its own. The source leaves large messages as the memory is that it is lent,
as Arroyo's does.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arroyo.bench.case import FRAME_BYTES, Case, Measurement
from arroyo.bench.meter import Meter
from arroyo.bench.running.processes import (
    FIRST_S,
    QUIET_S,
    Job,
    read_job,
    report_connected,
    report_ready,
    run_processes,
    wait_connected,
)
from arroyo.shared_memory.files import SHARED_MEMORY

QUEUED, QUEUED_BYTES = 1000, 256 * 1024**2
"""A subscriber has room for so many messages, as one of pyzmq, but for no more bytes than that."""
LEAST_QUEUED = 2


def run_iceoryx2(case: Case) -> Measurement:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    with contextlib.ExitStack() as ending:

        def service_name(folder: Path, name: str) -> str:
            ending.callback(_remove_shared_memory, _prefix(folder))
            return name

        return run_processes(__spec__.name, case, service_name, lossless=False)


def _prefix(folder: Path) -> str:
    """Return what the names of everything in a run begin with; they have to be short."""
    return folder.name.rpartition("-")[2] + "_"


def _remove_shared_memory(prefix: str) -> None:
    """Remove what processes that were killed have left, and what no process ever removes."""
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def main(job: Job) -> None:
    """Do the work of one process."""
    meter = Meter(job.notes, job.role, job.case.events)
    node = _node(Path(job.notes))
    try:
        if job.role == "source":
            _send_all(job, _Outlet(node, job), meter)
            signal.pause()
        elif job.role == "relay":
            _relay_all(_Inlet(node, job), _Outlet(node, job), meter)
        else:
            _receive_all(_Inlet(node, job), meter)
    finally:
        meter.end()


def _node(folder: Path) -> Any:
    """Return a node that knows those of this run only, and keeps its files in the run's folder."""
    import iceoryx2 as iox2

    iox2.set_log_level_from_env_or(iox2.LogLevel.Error)
    config = iox2.config.default()
    config.global_cfg.prefix = iox2.FileName.new(_prefix(folder))
    config.global_cfg.root_path = iox2.Path.new(f"{folder}/iceoryx2/")
    return iox2.NodeBuilder.new().config(config).create(iox2.ServiceType.Ipc)


def _services(node: Any, name: str, case: Case) -> tuple[Any, Any]:
    """Open the service of the messages of a link, and that of the events."""
    import iceoryx2 as iox2

    service = iox2.ServiceName.new(name)
    messages = (
        node.service_builder(service)
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .enable_safe_overflow(False)
        .subscriber_max_buffer_size(
            max(LEAST_QUEUED, min(QUEUED, QUEUED_BYTES // case.payload_bytes))
        )
        .open_or_create()
    )
    return messages, node.service_builder(service).event().open_or_create()


class _Outlet:
    """Where a stage sends messages; says so to the one below."""

    def __init__(self, node: Any, job: Job) -> None:
        import iceoryx2 as iox2

        self._bytes = job.case.payload_bytes
        messages, events = _services(node, job.outlets[0], job.case)
        self._publisher = (
            messages.publisher_builder()
            .initial_max_slice_len(self._bytes)
            .backpressure_strategy(iox2.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        self._notifier = events.notifier_builder().create()
        self._notifier.notify()

    def send(self, address: int | None) -> None:
        """Send a copy of what is at an address; without one, the memory as it is."""
        sample = self._publisher.loan_slice_uninit(self._bytes)
        if address is not None:
            ctypes.memmove(sample.payload_ptr, address, self._bytes)
        sample.assume_init().send()
        self._notifier.notify()


class _Inlet:
    """Where a stage gets messages."""

    def __init__(self, node: Any, job: Job) -> None:
        import iceoryx2 as iox2

        self._job = job
        messages, events = _services(node, job.inlet, job.case)
        self._subscriber = messages.subscriber_builder().create()
        self._listener = events.listener_builder().create()
        self._waits = iox2.WaitSetBuilder.new().create(iox2.ServiceType.Ipc)
        self._guard = self._waits.attach_notification(self._listener)

    def messages(self) -> Iterator[Any]:
        """Yield messages until SIGTERM; a sink's also end when none has come for a while."""
        import iceoryx2 as iox2

        report_ready()
        first, quiet = (iox2.Duration.from_secs(int(each_s)) for each_s in (FIRST_S, QUIET_S))
        patience, connected = first, False
        while True:
            events, result = self._waits.wait_and_process_with_timeout(patience)
            if result != iox2.WaitSetRunResult.AllEventsHandled:
                return
            if not events and self._job.role == "sink":
                return
            self._listener.try_wait()
            while (sample := self._subscriber.receive()) is not None:
                patience = quiet
                yield sample
                sample.delete()
            if not connected:
                connected = True
                report_connected(self._job)


def _send_all(job: Job, outlet: _Outlet, meter: Meter) -> None:
    payload = (ctypes.c_uint8 * job.case.payload_bytes)()
    address = ctypes.addressof(payload) if job.case.payload_bytes < FRAME_BYTES else None
    report_ready()
    wait_connected(job)
    meter.begin()
    for _ in range(job.case.events):
        outlet.send(address)


def _relay_all(inlet: _Inlet, outlet: _Outlet, meter: Meter) -> None:
    begun = False
    for message in inlet.messages():
        if not begun:
            begun = True
            meter.begin()
        outlet.send(message.payload_ptr)


def _receive_all(inlet: _Inlet, meter: Meter) -> None:
    begun = False
    for _ in inlet.messages():
        if not begun:
            begun = True
            meter.begin()
        if meter.arrive():
            return


if __name__ == "__main__":
    main(read_job())
