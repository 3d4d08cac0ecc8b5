"""One script for each result in the book."""
