"""A page on which people see what a chain does, served by a process of its own."""
