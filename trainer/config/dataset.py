"""The `dataset` section: where the pictures are and how they are changed for training."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import (
    choice,
    flag,
    integer,
    optional_sequence,
    optional_text,
    real,
    section,
    sequence,
    sources,
    text,
)

AUGMENTATION = (
    *("prob", "re_prob", "gaussian_blur", "color_augmentation", "random_rotation"),
    "crop_scale",
)
"""Keys of the section that change training pictures alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValDatasetConfig:
    """The gallery and the queries that retrieval is measured on."""

    reference: str | None = optional_text(
        "Folder of class folders (or an archive of one) that neighbours are looked up in.",
        holds="path",
    )
    query: str | None = optional_text(
        "Folder of class folders (or an archive of one) whose pictures are looked up.",
        holds="path",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianBlurConfig:
    """Random blur of training pictures."""

    enabled: bool = flag(True, "Whether training pictures are blurred at random.")
    kernel: tuple[int, int] = sequence(
        (15, 15),
        int,
        "Height and width of the blur kernel in pixels: odd, and no larger than the picture.",
        lengths=(2,),
        kind="list_3",
        depends_on=("model.input_height", "model.input_width"),
    )
    sigma: tuple[float, float] = sequence(
        (0.3, 0.7),
        float,
        "Least and greatest standard deviation of the blur, in pixels.",
        lengths=(2,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorAugmentationConfig:
    """Random colour changes of training pictures."""

    enabled: bool = flag(True, "Whether colours of training pictures are changed at random.")
    brightness: float = real(
        0.5, "Brightness is scaled by a factor from 1 - x to 1 + x.", minimum=0.0, maximum=2.0
    )
    contrast: float = real(
        0.3, "Contrast is scaled by a factor from 1 - x to 1 + x.", minimum=0.0, maximum=2.0
    )
    saturation: float = real(
        0.1, "Saturation is scaled by a factor from 1 - x to 1 + x.", minimum=0.0, maximum=2.0
    )
    hue: float = real(
        0.1, "Hue is turned by -x to x of the whole colour circle.", minimum=0.0, maximum=0.5
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CropScaleConfig:
    """Area of the random crops of training pictures; their sides are 3:4 to 4:3."""

    least: float = real(
        0.08,
        "Least share of the picture's area.",
        minimum=0.05,
        maximum=0.5,
        valid_min=0.001,
        valid_max=1.0,
    )
    greatest: float = real(
        1.0,
        "Greatest share of the picture's area.",
        minimum=0.5,
        maximum=1.0,
        valid_min=0.001,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetConfig:
    """Sources, sampling and augmentation."""

    train_dataset: str = text(
        "",
        "Folder of class folders (or an archive of one, or an s3:// address) to train on.",
        holds="path",
    )
    val_dataset: ValDatasetConfig = sources(
        ValDatasetConfig, "Where `reference` (the gallery) and `query` pictures are."
    )
    workers: int = integer(8, "Threads or processes that read pictures.", valid_min=0)
    class_map: str | None = optional_text(
        "YAML file that gives every class folder the name to report.", holds="path"
    )
    pixel_mean: tuple[float, ...] = sequence(
        (0.485, 0.456, 0.406),
        float,
        "Mean per channel that is subtracted from pixels in 0..1.",
        lengths=(1, 3),
    )
    pixel_std: tuple[float, ...] = sequence(
        (0.226, 0.226, 0.226),
        float,
        "Standard deviation per channel that pixels are divided by.",
        lengths=(1, 3),
    )
    interpolation: str = choice(
        "bilinear",
        ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"),
        "Filter that pictures are resized with; random crops in training stay bilinear.",
        is_extension=True,
    )
    crop_share: float = real(
        0.0,
        "0 squashes pictures to width x height. Above 0 their sides keep their ratio: the short one"
        " is resized to size / crop_share, and the centre is what the network sees.",
        minimum=0.0,
        maximum=1.0,
        positive_from=0.1,  # less would store pictures of more than ten times the input's sides
        is_extension=True,
    )
    value_range: tuple[float, float] | None = optional_sequence(
        float,
        "Samples that are black and white in pictures of more than 8 bits a channel (16-bit and "
        "float PNG, TIFF); found from the training pictures where it is not given, and kept with "
        "the model.",
        lengths=(2,),
        is_extension=True,
    )
    prob: float = real(
        0.5,
        "Chance that a training picture is mirrored left to right; 0 switches it off.",
        math_cond="> 0.0",
        maximum=1.0,
        valid_min=0.0,
    )
    re_prob: float = real(
        0.5,
        "Chance that a rectangle of a training picture is erased; 0 switches it off.",
        math_cond="> 0.0",
        maximum=1.0,
        valid_min=0.0,
    )
    gaussian_blur: GaussianBlurConfig = section(GaussianBlurConfig, "Random blur in training.")
    color_augmentation: ColorAugmentationConfig = section(
        ColorAugmentationConfig, "Random colour changes in training."
    )
    random_rotation: bool = flag(
        False, "Whether training pictures are turned by a random angle up to 180 degrees."
    )
    num_instance: int = integer(
        4, "Pictures of one class in a training batch; divides the batch size.", valid_min=1
    )
    crop_scale: CropScaleConfig = section(
        CropScaleConfig, "Area of random crops in training.", is_extension=True
    )
    first_size: float = real(
        1.0,
        "Sides of training pictures in the first epoch, as a share of the input's; they grow "
        "evenly to all of it in the last one, which saves time. Not for networks that take one "
        "size only.",
        minimum=0.4,
        maximum=1.0,
        valid_min=0.1,
        automl_enabled=False,
        is_extension=True,
    )
    sampling: str = choice(
        "classes",
        ("classes", "random"),
        "What a training batch holds: num_instance pictures of each of some classes, or any"
        " pictures (for losses that learn class vectors).",
        is_extension=True,
    )
    matching: str = choice(
        "nearest",
        ("nearest", "prototypes"),
        "How a picture's class is found: by the nearest reference picture, or by the nearest mean"
        " of a class's reference pictures.",
        is_extension=True,
    )
    flip_average: bool = flag(
        False,
        "Whether a picture is matched by the mean of its own and its mirror image's"
        " embedding, which takes twice as long.",
        is_extension=True,
    )
    ignore_unmatched: bool = flag(
        False,
        "Whether queries of classes outside the gallery are dropped and counted.",
        is_extension=True,
    )
    cache: bool = flag(
        True,
        "Whether decoded pictures, and a frozen trunk's features of them, are kept on "
        "disk and shared by later runs.",
        is_extension=True,
    )
    feature_views: int = integer(
        4,
        "Augmented views of each training picture whose features a frozen trunk's head learns "
        "from, one drawn per epoch; 0 takes the picture as it is, -1 runs the trunk in every "
        "epoch.",
        minimum=0,
        valid_min=-1,
        automl_enabled=False,
        is_extension=True,
    )
