"""Ways of driving jobs through the pipeline: in this process, and later through batch APIs and clusters."""
