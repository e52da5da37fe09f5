"""The conversation model: turns, prompt formats, the context window. Standard library only."""
