"""MLflow servers: models pulled, pushed and recorded there, and traces uploaded."""
