"""The engine in a process of its own: the client, the process and what they say to each other."""
