"""What the rooms of the protocol hand each other. PURE."""
