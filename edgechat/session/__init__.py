"""The conversation with a model, for every interface: library, current chat, prompts, context and replies."""
