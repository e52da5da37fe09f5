"""What is asked of the operating system: to confine the worker and end it with its parent, and to open files alone."""
