"""An operator's or publisher's replica: takes batches, works, sends on, acknowledges."""
