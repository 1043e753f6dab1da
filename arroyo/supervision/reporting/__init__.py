"""What the supervisor tells people."""
