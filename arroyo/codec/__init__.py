"""Messages and records to frames and back. PURE."""
