"""Domains: one class per kind of value, with its latent dimensions and the maps between them."""
