"""Decoded images of a folder, for tests that look at the pixels alone."""

from __future__ import annotations

from trainer.data.cache import open_cached_images


def open_cache(*args, **options):
    return open_cached_images(*args, **options).images
