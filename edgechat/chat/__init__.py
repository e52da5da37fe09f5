"""What a conversation is: turns, the prompt forms, the window. Standard library only."""
