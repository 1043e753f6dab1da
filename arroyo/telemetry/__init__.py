"""Counters, status pages and logs of a replica."""
