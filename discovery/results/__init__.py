"""What a run found, as passive data: proposals, scores, curves, objectives, subjects."""
