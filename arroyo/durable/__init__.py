"""Files that have to be right after a crash of the process or of the machine."""
