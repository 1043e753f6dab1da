"""The link protocol as state machines: events in, actions out, time as data. PURE."""
