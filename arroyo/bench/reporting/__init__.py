"""Results: as a file, tables and plots, and against a limit."""
