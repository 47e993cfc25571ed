"""A look at somebody's annotations, and the recipe, schema and card that build them."""
