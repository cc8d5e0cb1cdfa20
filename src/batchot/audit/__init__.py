"""What a collection of shapes leaks from its training part into its test part."""
