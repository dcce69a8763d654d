"""The agent's network: layers, recurrences and heads."""
