"""From the text of a chain file to the checked chain: what `reader` does, step by step."""
