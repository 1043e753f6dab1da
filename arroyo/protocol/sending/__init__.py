"""To the stages below: which replica gets which batch, and when. PURE."""
