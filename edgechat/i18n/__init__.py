"""The interface's words in the user's language."""
