"""What the supervisor decides, as state machines. PURE."""
