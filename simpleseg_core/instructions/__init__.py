"""From annotated images to instruction pairs: pairs, composition, leakage, expressions, token lengths."""
