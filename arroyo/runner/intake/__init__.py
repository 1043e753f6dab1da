"""From the listener's thread to the source."""
