"""The content of the Evaluate page: figures, mistakes, certainty, damaged digits, two networks compared."""
