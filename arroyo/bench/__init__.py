"""The benchmark: chains on this machine, each beside the same chain written by hand in pyzmq."""
