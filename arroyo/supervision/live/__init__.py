"""A running chain, looked at again and again: rates, shares of time, what holds it up."""
