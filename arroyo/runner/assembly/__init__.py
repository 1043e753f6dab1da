"""From the chain's graph to the state machines of one replica. PURE.

There is a module for each kind of machine, since a process should load no other.
"""
