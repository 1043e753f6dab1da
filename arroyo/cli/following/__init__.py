"""What `arroyo follow` makes of what other programs say."""
