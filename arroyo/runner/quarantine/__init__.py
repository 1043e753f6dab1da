"""Messages that failed: kept, listed, and brought back."""
