"""The engine in a separate process: the client, the process and the protocol between them."""
