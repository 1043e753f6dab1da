"""Operators ready to use. PURE (numpy)."""
