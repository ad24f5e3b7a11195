"""One class per shape of value: its latent dimensions, and the way there and back."""
