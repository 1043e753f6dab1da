"""What processes of a chain tell each other beside the data: locks, readiness, requests."""
