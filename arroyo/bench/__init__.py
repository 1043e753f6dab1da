"""How fast a chain is on this machine, always beside the same chain written by hand in pyzmq."""
