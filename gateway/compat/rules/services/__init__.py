"""What the API does around a model, but not around every one: asked for in another way, or named as lost."""
