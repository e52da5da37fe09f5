"""Other model formats to an ONNX GenAI folder.

Conversion is a job of its own process: the modules here import numpy and onnx, which the chat path must never
load. Nothing is imported in this file, so that `import edgechat.convert` stays free.
"""
