"""A listener's replica: sends what is handed over, and hears what is finished."""
