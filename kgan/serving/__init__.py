"""What leaves the workshop: SavedModels, and the way back from them to sound."""
