"""Trunks, heads and their weight files: everything between a batch of images and its embeddings."""
