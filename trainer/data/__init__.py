"""From files to augmented batches: staging, scanning, decoding once, sampling, augmentation."""
