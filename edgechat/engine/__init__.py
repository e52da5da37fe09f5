"""Running a model: the protocol, the onnxruntime-genai and transformers loops, the worker, a scripted double."""
