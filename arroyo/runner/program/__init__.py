"""Foreign programs as stages: how they are started, known to be ready, and ended."""
