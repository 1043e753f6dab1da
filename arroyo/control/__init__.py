"""How the processes of a chain meet and talk beside the data: locks, readiness, requests."""
