"""One stage as a process: the shells around the state machines."""
