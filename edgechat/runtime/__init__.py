"""What is asked of the operating system: that it confines the worker and ends it with its parent."""
