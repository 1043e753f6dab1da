"""Processes: started, watched, examined after their death."""
