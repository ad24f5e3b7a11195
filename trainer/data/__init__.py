"""From files to augmented batches: staging, scanning, the decode-once cache, sampling, augmentation."""
