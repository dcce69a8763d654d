"""Starting a search from known algorithms or earlier runs."""
