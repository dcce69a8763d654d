"""What a search starts from in place of its family's own beginning: `find` finds it, `record` is kept."""
