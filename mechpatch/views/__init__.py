"""What a run looks like: figures and words made from its records, never from a model."""
