"""What is measured: Arroyo's chain, the same by hand, and what the machine allows."""
