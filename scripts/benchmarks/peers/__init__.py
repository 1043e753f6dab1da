"""The same chain made with other frameworks, to compare with: an adapter each."""
