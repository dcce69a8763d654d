"""How an algorithm is trained: one file for each loop."""
