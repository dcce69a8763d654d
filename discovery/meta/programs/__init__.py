"""Evolution of programs: variation, islands, an archive of what was tried, racing and simplification."""
