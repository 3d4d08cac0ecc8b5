"""Networks applied: to a batch, to a photo of any size, to folders of photos."""
