"""Lossless conversion of GGUF files to ONNX GenAI folders."""
