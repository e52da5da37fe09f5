"""The terminal itself: the bytes that come from it and the bytes that go to it."""
