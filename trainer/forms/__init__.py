"""Further forms of an export: pixels in, a folder for timm, a model repository for Triton."""
