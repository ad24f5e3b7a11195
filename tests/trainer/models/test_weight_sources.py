"""What addresses of weights resolve to, against timm's own tables and hand-made folders."""

import hashlib
import json
import subprocess
import sys

import pytest
import timm
import timm.data
import torch
from torchvision.models import ResNet50_Weights

from trainer.errors import CheckpointError, SpecError
from trainer.models.recognizer import build_recognizer
from trainer.models.weight_sources import (
    INSTALLED,
    at_hand,
    installed_file,
    is_address,
    resolve,
)
from trainer.spec import parse_spec

HAS_LITE = installed_file("lite0") is not None
needs_lite = pytest.mark.skipif(not HAS_LITE, reason="hpo-recognition[weights] is not installed")


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Caches of the test's own, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))


def timms_eval_facts(name):
    """What timm itself would evaluate a model with."""
    config = timm.data.resolve_data_config(
        {}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()
    )
    _, height, width = config["input_size"]
    return {
        "mean": tuple(config["mean"]), "std": tuple(config["std"]),
        "interpolation": config["interpolation"], "crop_share": config["crop_pct"],
        "height": height, "width": width,
    }  # fmt: skip


def facts_of(source):
    own = source.preprocessing
    return {name: getattr(own, name) for name in own.__slots__}


@pytest.mark.parametrize("name", INSTALLED)
def test_the_facts_of_installed_weights_are_timms(name):
    source = resolve(name, fetch=False)
    assert facts_of(source) == timms_eval_facts(source.timm_model)
    assert source.backbone == f"timm/tf_efficientnet_{name}"
    assert source.licence.lower() == timm.get_pretrained_cfg(source.timm_model).license


@needs_lite
@pytest.mark.parametrize("name", INSTALLED)
def test_installed_weights_are_found_without_importing_their_package(name):
    source = resolve(name, fetch=True)
    content = source.path.read_bytes()
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert f"-{source.sha256[:8]}.pth" in source.path.name  # its digest is in its name
    package = INSTALLED[name].package.replace("-", "_")
    code = f"""
import sys
from trainer.models.weight_sources import resolve
resolve({name!r}, fetch=True)
sys.exit({package!r} in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.a1_in1k",
        "resnet50.a1_in1k",
        "convnext_tiny.in12k_ft_in1k",
        "tf_efficientnet_lite3",
    ],
)
def test_facts_of_timms_weights(name):
    source = resolve(f"timm://{name}", fetch=False)
    assert facts_of(source) == timms_eval_facts(name)
    assert source.timm_model.startswith(name)
    assert source.licence == timm.get_pretrained_cfg(name).license


def test_weights_that_see_whole_pictures_are_squashed():
    source = resolve("timm://convnext_base.fb_in22k_ft_in1k_384", fetch=False)
    assert timm.get_pretrained_cfg(source.timm_model).crop_mode == "squash"
    assert source.preprocessing.crop_share == 0.0


def test_facts_of_torchvisions_weights():
    source = resolve("torchvision://ResNet50_Weights.IMAGENET1K_V2", fetch=False)
    how = ResNet50_Weights.IMAGENET1K_V2.transforms()
    assert (source.timm_model, source.backbone) == ("resnet50", "timm/resnet50")
    assert facts_of(source) == {
        "mean": tuple(how.mean), "std": tuple(how.std), "interpolation": "bilinear",
        "crop_share": pytest.approx(224 / 232, abs=1e-5), "height": 224, "width": 224,
    }  # fmt: skip
    assert int(224 / source.preprocessing.crop_share) == how.resize_size[0] == 232


def test_the_facts_are_asked_of_a_process_without_torch_here(tmp_path):
    code = (
        "import sys; from trainer.models.weight_sources import resolve;"
        "print(resolve('timm://resnet18', fetch=False).timm_model,"
        " 'torch' in sys.modules, 'timm' in sys.modules)"
    )
    for _ in range(2):  # asked, then kept
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == ["resnet18.a1_in1k", "False", "False"]
    (kept,) = (tmp_path / "cache" / "weight_facts").glob("*.json")
    assert json.loads(kept.read_text())["hub"] == "timm/resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("timm://resnt18", SpecError, r"timm://resnt18 is not a model of timm .*nearest names: resnet18"),
        ("timm://resnet18.x", SpecError, r"no published weights .*; it has resnet18\.a1_in1k"),
        ("timm:/resnet18", SpecError, r"is not an address of weights; it is spelt timm://\.\.\."),
        ("ftp://x", SpecError, r"ftp://x is not an address of weights; it may be a file, timm://MODEL"),
        ("hf-hub:resnet18", SpecError, r"hf-hub:ORG/NAME must be given"),
        (
            "torchvision://ResNet50_Weights.IMAGENET1K_V3", SpecError,
            r"no such weights; nearest names: ResNet50_Weights\.IMAGENET1K_V",
        ),
        ("torchvision://VGG11_Weights.DEFAULT", SpecError, "timm has no model with the keys"),
        ("lite3", CheckpointError, "lite3 does not exist; did you mean lite"),
        ("nothing.pth", CheckpointError, "nothing.pth does not exist; it may be a file"),
        ("/etc", CheckpointError, "/etc is a folder; name the weight file in it, or local-dir:/etc"),
        ("local-dir:/etc", CheckpointError, r"must be a folder with timm's config\.json"),
        ("hf-hub:org/name", CheckpointError, "could not be fetched: HF_HUB_OFFLINE is set"),
        ("timm://resnet18", CheckpointError, "could not be fetched: HF_HUB_OFFLINE is set"),
    ],
)  # fmt: skip
def test_wrong_addresses_are_one_line(address, error, said):
    with pytest.raises(error, match=said) as caught:
        resolve(address, fetch=True)
    assert str(caught.value).startswith("model.pretrained_trunk_path: ")
    assert "\n" not in str(caught.value)


@needs_lite
def test_what_is_at_hand_is_named_when_a_hub_cannot_be_reached(tmp_path):
    place = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k" / "snapshots" / "abc"
    other = tmp_path / "hub" / "models--org--a--b" / "snapshots" / "abc"
    for folder in (place, other):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    file = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.touch()
    told = (
        f"installed: lite0, lite1, lite2; in the hub's cache: {file}, hf-hub:org/a--b, "
        "timm://resnet10t.c3_in1k"
    )
    assert at_hand() == told
    with pytest.raises(CheckpointError) as caught:
        resolve("timm://resnet18", fetch=True)
    assert str(caught.value).endswith(f"or name what is at hand ({told})")


def test_a_missing_package_is_one_line(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("trainer.models.weight_sources.distribution", missing)
    with pytest.raises(
        CheckpointError, match="lite1 needs the package efficientnet-lite1-"
    ) as caught:
        resolve("lite1", fetch=True)
    assert "install hpo-recognition[weights]" in str(caught.value)
    assert resolve("lite1", fetch=False).backbone == "timm/tf_efficientnet_lite1"


def test_a_file_is_taken_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_bytes(b"abc")
    source = resolve(str(tmp_path / "a.pth"), fetch=True)
    assert source.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (source.timm_model, source.backbone, source.preprocessing) == (None, None, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lite0").write_bytes(b"mine")
    assert resolve("lite0", fetch=True).sha256 == hashlib.sha256(b"mine").hexdigest()
    assert not is_address("lite0")
    (tmp_path / "lite0").unlink()
    assert is_address("lite0")
    assert is_address("timm://x")
    assert is_address("none")
    assert not is_address("/some/x.pth")


def test_a_path_of_another_machine_is_let_be():
    assert resolve("/there/x.pth", fetch=True, may_be_elsewhere=True).sha256 is None
    with pytest.raises(CheckpointError, match="does not exist"):
        resolve("lite9", fetch=True, may_be_elsewhere=True)


# ---- weights that timm brings into its form


def tiny_resnet(**how):
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=7, **how)


@pytest.fixture
def folder(tmp_path):
    """What timm writes for a hub, by hand: a config and weights with a classifier."""
    from safetensors.torch import save_file

    place = tmp_path / "saved"
    place.mkdir()
    own = {
        "tag": "mine", "input_size": [3, 96, 128], "crop_pct": 0.8, "interpolation": "bilinear",
        "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit", "num_classes": 7,
        "first_conv": "conv1.0", "classifier": "fc",
    }  # fmt: skip
    (place / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": own})
    )
    save_file(tiny_resnet().state_dict(), place / "model.safetensors")
    return place


def assert_is_that_model(source_address):
    spec = parse_spec({"model.pretrained_trunk_path": source_address}, "train", is_complete=False)
    assert spec.model.backbone == "timm/test_resnet"
    assert (spec.model.input_height, spec.model.input_width) == (96, 128)
    assert spec.dataset.pixel_std == (0.4, 0.5, 0.6)
    assert (spec.dataset.interpolation, spec.dataset.crop_share) == ("bilinear", 0.8)
    assert spec.model.weights.licence == "mit"
    model = build_recognizer(spec)
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    wanted = tiny_resnet().eval()
    with torch.no_grad():
        features = wanted.forward_head(wanted.forward_features(images), pre_logits=True)
        assert torch.allclose(model.eval().trunk(images), features, rtol=1e-5, atol=1e-6)
    state = wanted.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.trunk.state_dict().items())
    return model


def test_what_is_drawn_next_does_not_depend_on_the_weights(folder):
    spec = parse_spec(
        {"model.pretrained_trunk_path": f"local-dir:{folder}"}, "train", is_complete=False
    )
    drawn = []
    for load_pretrained in (True, False):
        torch.manual_seed(8)
        build_recognizer(spec, load_pretrained=load_pretrained)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_a_folder_of_timms(folder):
    model = assert_is_that_model(f"local-dir:{folder}")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model.weights == {"address": f"local-dir:{folder}", "sha256": digest, "licence": "mit"}


def test_a_repository_in_the_hubs_cache(folder, tmp_path):
    place = tmp_path / "hub" / "models--me--mine"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots").mkdir()
    folder.rename(place / "snapshots" / "abc")
    assert_is_that_model("hf-hub:me/mine")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"architecture": "x", "pretrained_cfg": {"input_size": 5}}', "{}"]
)
def test_a_damaged_config_is_one_line(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json must be the config\.json of a timm"):
        resolve(f"local-dir:{folder}", fetch=True)


def test_a_file_of_torchvision_in_torchs_cache(tmp_path):
    """The real weights are not at hand: a model with torchvision's keys stands for them."""
    from torchvision.models import resnet18

    place = tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    torch.manual_seed(2)
    theirs = resnet18().eval()
    torch.save(theirs.state_dict(), place / "resnet18-f37072fd.pth")
    address = "torchvision://ResNet18_Weights.IMAGENET1K_V1"
    spec = parse_spec({"model.pretrained_trunk_path": address}, "train", is_complete=False)
    assert (spec.model.backbone, spec.dataset.crop_share) == ("timm/resnet18", 0.875)
    model = build_recognizer(spec).eval()
    images = torch.rand(2, 3, 64, 64)
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(model.trunk(images), theirs(images))
