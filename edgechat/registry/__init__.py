"""MLflow servers: pulling, pushing and recording models, and uploading traces."""
