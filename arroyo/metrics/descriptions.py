"""Every metric that Arroyo serves: name, type, labels and meaning. PURE.

The texts are the `# HELP` lines, and the page METRICS.md.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info"]

CHAIN = ("chain",)
REPLICA = ("chain", "stage", "replica")


class Description(NamedTuple):
    """One metric."""

    name: str
    """Without the suffixes that its samples have: ``_total``, ``_bucket``, ``_info``."""
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def shown_name(self) -> str:
        """The name to ask for in a query; that of a histogram stands for ``_bucket`` and so on."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return self.name + suffix

    @property
    def unit(self) -> str:
        """The unit in its name; empty: it has none."""
        last = self.name.rpartition("_")[2]
        return last if last in {"seconds", "bytes", "ratio"} else ""


METRICS = (
    Description("arroyo_build", "info", ("version",), "Version of Arroyo that serves this."),
    Description("arroyo_up", "gauge", CHAIN, "1 while any process of the chain runs, else 0."),
    Description(
        "arroyo_chain_state",
        "gauge",
        (*CHAIN, "state"),
        "1 for the state that the chain is in, 0 for all others.",
    ),
    Description(
        "arroyo_quarantine_messages", "gauge", CHAIN, "Messages that are in quarantine now."
    ),
    Description(
        "arroyo_quarantine_used_ratio",
        "gauge",
        CHAIN,
        "Part of the quarantine's room that is used. At 1, stages that have a message for it stand "
        "still.",
    ),
    Description(
        "arroyo_link",
        "info",
        ("chain", "above", "stage", "link"),
        "The links of the chain, from the stage above to the stage.",
    ),
    Description(
        "arroyo_stage",
        "info",
        ("chain", "stage", "role"),
        "The stages of the chain; the role is listener, operator or publisher.",
    ),
    Description(
        "arroyo_stage_state",
        "gauge",
        (*REPLICA, "state"),
        "1 for the state that the replica is in, 0 for all others.",
    ),
    Description("arroyo_stage_ready", "gauge", REPLICA, "1 while the replica is READY, else 0."),
    Description(
        "arroyo_stage_wanted",
        "gauge",
        REPLICA,
        "0 while the replica is stopped by a command, and so meant to be down, else 1.",
    ),
    Description(
        "arroyo_stage_restarts",
        "counter",
        REPLICA,
        "How often the replica's process was started again after an end that nobody had ordered.",
    ),
    Description(
        "arroyo_stage_uptime_seconds", "gauge", REPLICA, "Time since the replica's process started."
    ),
    Description(
        "arroyo_stage_received_events", "counter", REPLICA, "Events that the replica has received."
    ),
    Description(
        "arroyo_stage_sent_events",
        "counter",
        REPLICA,
        "Events that the replica has sent; those of a publisher went to the outside.",
    ),
    Description("arroyo_stage_received_bytes", "counter", REPLICA, "Bytes of the events received."),
    Description("arroyo_stage_sent_bytes", "counter", REPLICA, "Bytes of the events sent."),
    Description(
        "arroyo_stage_repeated_events",
        "counter",
        REPLICA,
        "Events among those received that were sent again after a crash somewhere below.",
    ),
    Description(
        "arroyo_stage_errors",
        "counter",
        REPLICA,
        "Calls of the stage's code that raised, and records that could not be read.",
    ),
    Description(
        "arroyo_stage_discarded_events",
        "counter",
        (*REPLICA, "reason"),
        "Events that ended here. The reason is filtered (process() returned nothing), skipped (it "
        "raised, and on_error says so), quarantined (kept aside), dropped (given up by a rule: a "
        "slow subscriber, or when_full) or rejected (input from outside that could not be read).",
    ),
    Description(
        "arroyo_stage_lost_events",
        "counter",
        REPLICA,
        "Events that a source can't deliver any more because of a failure. The log names them.",
    ),
    Description(
        "arroyo_stage_inline_payloads",
        "counter",
        REPLICA,
        "Large payloads that found no room in shared memory and were copied through sockets.",
    ),
    Description(
        "arroyo_stage_in_flight_events",
        "gauge",
        REPLICA,
        "Of a listener, events that not every sink has finished; of others, events that the next "
        "stage has not taken up yet.",
    ),
    Description(
        "arroyo_stage_window_events",
        "gauge",
        REPLICA,
        "The most events that a listener may have in flight.",
    ),
    Description(
        "arroyo_stage_phase_seconds",
        "counter",
        (*REPLICA, "phase"),
        "Time that the replica was busy (its code worked), idle (it waited for events) and "
        "blocked (the stages below had no room). A listener is only idle or blocked.",
    ),
    Description(
        "arroyo_stage_latency_seconds",
        "histogram",
        REPLICA,
        "Time from the listener's process() to the end of this stage's work, of each event. The "
        "sum is known to 1/16.",
    ),
    Description(
        "arroyo_stage_waiting_seconds",
        "gauge",
        REPLICA,
        "How long the stage has waited for something outside, such as a broker; 0: it does not.",
    ),
    Description(
        "arroyo_stage_cpu_seconds", "counter", REPLICA, "Processor time of the replica's process."
    ),
    Description(
        "arroyo_stage_resident_memory_bytes",
        "gauge",
        REPLICA,
        "Memory of the replica's process, shared memory included.",
    ),
)
