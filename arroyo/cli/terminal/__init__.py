"""The screen of `arroyo top`, by textual."""
