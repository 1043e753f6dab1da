"""HTTP as it is served here: what is refused, bounded clients, the process that serves."""
