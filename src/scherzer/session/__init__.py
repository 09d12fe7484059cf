"""The folder on disk: settings, stages, resume, workers."""
