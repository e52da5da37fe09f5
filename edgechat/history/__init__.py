"""The chat history, stored in one SQLite file."""
