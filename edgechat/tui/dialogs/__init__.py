"""Everything that opens over the chat and closes again."""
