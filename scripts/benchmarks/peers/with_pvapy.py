"""The chain made with pvapy: each stage serves a PVAccess channel, the next one monitors it.

A channel holds the newest value; a monitor has a queue, and what finds it full is dropped. So the
sink ends when nothing has come for a while, and what arrived is counted.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from arroyo.bench.case import Case, Measurement
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

QUEUED = 1000
LOOK_S = 0.5
"""SIGTERM is seen between two waits."""
LOOPBACK = {
    "EPICS_PVA_ADDR_LIST": "127.0.0.1",
    "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
}


def run_pvapy(case: Case) -> Measurement:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    return run_processes(__spec__.name, case, _channel_name, lossless=False)


def _channel_name(folder: Path, name: str) -> str:
    return f"{folder.name}:{name}"


def main(job: Job) -> None:
    """Do the work of one process."""
    os.environ.update(LOOPBACK)
    meter = Meter(job.notes, job.role, job.case.events)
    report_ready()
    try:
        if job.role == "source":
            _send_all(job, meter)
            signal.pause()
        _receive_all(job, meter)
    finally:
        meter.end()


def _server(job: Job) -> Any:
    """Serve the channel that the next stage monitors; a sink serves none."""
    import numpy as np
    import pvaccess as pva

    value = pva.PvObject({"index": pva.ULONG, "value": [pva.UBYTE]})
    value["value"] = np.zeros(job.case.payload_bytes, np.uint8)
    return pva.PvaServer(job.outlets[0], value), value


def _send_all(job: Job, meter: Meter) -> None:
    server, value = _server(job)
    wait_connected(job)
    meter.begin()
    for index in range(1, job.case.events + 1):
        value["index"] = index  # an update that changes nothing is not sent
        server.update(value)


def _receive_all(job: Job, meter: Meter) -> None:
    import pvaccess as pva

    server = _server(job)[0] if job.role == "relay" else None
    channel, queue = pva.Channel(job.inlet), pva.PvObjectQueue(QUEUED)
    channel.qMonitor(queue, "field()")
    queue.get(FIRST_S)  # each monitor is sent the value that was there before
    report_connected(job)
    patience_s, begun = FIRST_S if server is None else LOOK_S, False
    while True:
        try:
            value = queue.get(patience_s)
        except pva.QueueEmpty:
            if job.role == "sink":
                return
            continue
        if not begun:
            begun = True
            meter.begin()
            patience_s = min(patience_s, QUIET_S)
        if server is not None:
            server.update(value)
        elif meter.arrive():
            return


if __name__ == "__main__":
    main(read_job())
