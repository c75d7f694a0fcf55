"""Audio signals: files, analysis and synthesis."""
