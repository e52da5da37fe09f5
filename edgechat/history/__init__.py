"""Every chat, kept in one SQLite file."""
