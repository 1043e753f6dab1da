"""From the stages above: which batches are taken, and in which order. PURE."""
