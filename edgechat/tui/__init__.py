"""The terminal interface: draws what `session` yields. The only package that may import textual."""
