"""Converts other model formats to an ONNX GenAI folder.

Conversion runs in a process of its own: the modules here import numpy and onnx, which the chat path must never load.
    This
file imports nothing, so that `import edgechat.convert` is free.
"""
