"""Running a model: the protocol, the onnxruntime-genai loop, the child process around it, and a scripted double."""
