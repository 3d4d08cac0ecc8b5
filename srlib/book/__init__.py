"""What only the book needs: its figures, its presets, and the results that it quotes."""
