"""GGUF files to ONNX GenAI folders, exactly."""
