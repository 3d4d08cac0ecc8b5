"""The zoo's networks in PyTorch: read, used, trained on an accelerator, and written again."""
