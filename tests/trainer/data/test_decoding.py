import numpy as np
import pytest

from trainer.data.cache import open_cached_images
from trainer.data.decode import ImageSize
from trainer.data.decoding import decode_folder
from trainer.data.folder import scan_folder
from trainer.errors import ImageError


@pytest.mark.parametrize("workers", [1, 3])
def test_decoding_into_memory_equals_the_cache(make_folder, cache_dir, workers):
    folder = scan_folder(make_folder("train", {"a": 70, "b": 65}))
    size = ImageSize(height=9, width=7)
    decoded = decode_folder(folder, size, workers=workers)
    assert not cache_dir.exists()
    cached = open_cached_images(folder, size)
    np.testing.assert_array_equal(decoded.images, cached.images)
    np.testing.assert_array_equal(decoded.sizes, cached.sizes)


def test_the_first_broken_file_is_named(make_folder):
    folder = scan_folder(make_folder("train", {"a": 3}))
    (folder.root / "a" / "1.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a/1.png: not a readable picture"):
        decode_folder(folder, ImageSize(height=9, width=7))
