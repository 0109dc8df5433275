"""How the shipped models are trained: recipes, and what they share."""
