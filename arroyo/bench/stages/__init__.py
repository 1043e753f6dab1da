"""Stages of the chains that are measured, and what they do."""
