"""One small file a stage: reads its tables and images, calls its room, writes what comes back."""
