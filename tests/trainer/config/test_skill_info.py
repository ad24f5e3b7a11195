import yaml

from trainer.config.skill_info import DEPLOY_PAGE, deploy_info, deploy_templates, skill_info
from trainer.config.tree import leaves

SAME = ("network_arch", "automl_enabled", "data_format", "gpu_spec_key", "spec_shorthand_keys")


def read(folder, name):
    return yaml.safe_load((folder / "references" / name).read_text())


def test_training_metadata_agrees_with_the_published_one(published_skill):
    published, ours = read(published_skill, "skill_info.yaml"), skill_info()
    for name in (*SAME, "actions", "spec_params", "key_defaults", "spec_templates"):
        assert ours[name] == published[name], name
    for action, sources in published["data_sources"].items():
        assert set(ours["data_sources"][action]) == set(sources)
    assert ours["description"] != published["description"]


def test_deploy_metadata_agrees_with_the_published_one(published_skill):
    published, ours = read(published_skill, f"{DEPLOY_PAGE}.skill_info.yaml"), deploy_info()
    for name in ("network_arch", "actions", "spec_shorthand_keys", "spec_templates"):
        assert ours[name] == published[name], name
    added = {"gen_trt_engine.tensorrt.calibration.cal_cache_file": "create_cal_cache"}
    published["spec_params"]["gen_trt_engine"] |= added
    assert ours["spec_params"] == published["spec_params"]


def test_deploy_templates_hold_the_published_values(published_skill):
    for action, spec in deploy_templates().items():
        assert spec == read(published_skill, f"spec_template_deploy_{action}.yaml")


def test_every_named_path_is_a_key_of_the_spec():
    known = set(leaves())
    for info in (skill_info(), deploy_info()):
        named = set(info["spec_shorthand_keys"].values())
        for action in info["actions"].values():
            named |= {*action["inputs"], *action["outputs"]}
        for part in ("spec_params", "data_sources"):
            for paths in info[part].values():
                named |= set(paths)
        assert named <= known
