"""What a source's next life takes over from the one before. PURE."""
