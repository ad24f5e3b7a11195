"""Every key by its path; those that hold files are declared to."""

from trainer.config.tree import keys, keys_that_hold, leaves

NO_FILES = {
    "model_name", "encryption_key", "train.checkpoint_interval_unit", "model.weights.sha256", "model.weights.licence",
    "model.weights.trained_with", "model.weights.follows", "gen_trt_engine.tensorrt.layers_precision",
}  # fmt: skip
"""Texts that are no files, beside those of `wandb`."""


def test_a_section_comes_before_its_children():
    order = list(keys())
    assert order.index("train.optim") < order.index("train.optim.trunk.base_lr")
    assert "train.optim" not in leaves()


def test_every_text_is_a_file_or_known_to_be_none():
    """Except folders of results, which a search sets itself."""
    texts = {
        path for path, key in leaves().items() if key.info.kind == "string" or key.info.item is str
    }
    none = {
        path for path in texts if path.startswith("wandb.") or path.endswith("results_dir")
    } | NO_FILES
    held = {*keys_that_hold("path"), *keys_that_hold("weights")}
    assert held == texts - none
    assert keys_that_hold("weights") == ("model.pretrained_trunk_path", "model.weights.address")
