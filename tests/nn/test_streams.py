"""Several inputs: stacked into one net (early), or one net each with averaged scores (late)."""

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel

from fcnexp.build import network
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.weights.caffe_names import blobs, constants
from fcnexp.nn.weights.surgery import load_blobs

SMALL = ["backbone=alexnet", "head.channels=4", "data=nyud", "model=fcn16s"]


def made_up(net: torch.nn.Module, seed: int = 0) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        name: [rng.standard_normal(t.shape, dtype=np.float32) * 0.05 for t in tensors]
        for name, tensors in blobs(net).items()
    }


def inputs(*fields: str) -> dict[str, torch.Tensor]:
    return {f: torch.randn(1, 1 if f == "depth" else 3, 70, 90) for f in fields}


def test_late_fusion_is_the_mean_of_its_streams():
    both = network([*SMALL, "modality=rgb_hha"])
    rgb, hha = (network([*SMALL, f"modality={m}"]) for m in ("rgb", "hha"))
    first, second = made_up(rgb, 1), made_up(hha, 2)
    load_blobs(rgb, first)
    load_blobs(hha, second)
    load_blobs(
        both, {f"{n}color": b for n, b in first.items()} | {f"{n}hha": b for n, b in second.items()}
    )
    x = inputs("rgb", "hha")
    with torch.inference_mode():
        torch.testing.assert_close(both(x), 0.5 * (rgb(x) + hha(x)))


def test_streams_do_not_share_parameters():
    net = network([*SMALL, "modality=rgb_hha"])
    found = [id(t) for tensors in blobs(net).values() for t in tensors]
    assert len(found) == len(set(found)) == len(list(net.parameters()))


def test_each_stream_starts_from_its_own_file(tmp_path):
    files = {}
    for seed, field in enumerate(("rgb", "hha")):
        alone = network([*SMALL, f"modality={field}"])
        files[field] = made_up(alone, seed)
        write_caffemodel(tmp_path / f"{field}.caffemodel", files[field])
    paths = [f"init.{field}={tmp_path}/{field}.caffemodel" for field in files]
    net = network([*SMALL, "modality=rgb_hha", "init=streams", *paths])
    for name, suffix, field in (("conv3", "color", "rgb"), ("score_pool4", "hha", "hha")):
        np.testing.assert_array_equal(blobs(net)[name + suffix][0].detach(), files[field][name][0])


def test_stream_without_a_file_is_named():
    with pytest.raises(WeightsError, match="init.rgb: required, but not given"):
        network([*SMALL, "modality=rgb_hha", "init=streams"])
    with pytest.raises(WeightsError, match="this modality has one stream; choose modality=rgb_hha"):
        network([*SMALL, "modality=rgb", "init=streams"])


def test_classifiers_filters_are_widened_by_their_mean():
    """nyud-fcn32s-color-d: the depth filter is the mean of the three colour filters."""
    plain = made_up(network([*SMALL, "modality=rgb"]))
    net = network([*SMALL, "modality=rgbd"])
    report = load_blobs(net, plain)
    filters = blobs(net)["conv1_bgrd"][0].detach().numpy()
    np.testing.assert_array_equal(filters[:, :3], plain["conv1"][0])
    np.testing.assert_allclose(filters[:, 3], plain["conv1"][0].mean(1), rtol=1e-6)
    assert report.widened == ["conv1_bgrd"] and "widened conv1_bgrd" in report.line()


def test_classifiers_weights_go_into_every_stream():
    plain = {
        n: b for n, b in made_up(network([*SMALL, "modality=rgb"])).items() if "score" not in n
    }
    net = network([*SMALL, "modality=rgb_hha"])
    report = load_blobs(net, plain)
    for name in ("conv4color", "conv4hha"):
        np.testing.assert_array_equal(blobs(net)[name][0].detach(), plain["conv4"][0])
    assert sorted(report.new) == [
        "score_frcolor",
        "score_frhha",
        "score_pool4color",
        "score_pool4hha",
    ]


def test_two_tasks_fill_their_rows_of_the_scores():
    """siftflow: 33 semantic and 3 geometric scores are stacked."""
    narrow = ["experiment=siftflow_fcn16s", "init=scratch", "backbone=alexnet", "head.channels=4"]
    net = network(narrow)
    found = made_up(net)
    assert found["score_fr_sem"][0].shape == (33, 4, 1, 1)
    assert found["score_pool4_geo"][1].shape == (3,)
    load_blobs(net, found)
    score = net.scorers()["rgb"].score_layers()["score_fr"].weight.detach().numpy()
    np.testing.assert_array_equal(score[:33], found["score_fr_sem"][0])
    np.testing.assert_array_equal(score[33:], found["score_fr_geo"][0])
    assert constants(net)["upscore2_geo"].shape == (3, 3, 3, 3)
    assert net(inputs("rgb")).shape == (1, 36, 70, 90)


def test_missing_inputs_and_different_sizes_are_reported():
    net = network([*SMALL, "modality=rgbd"])
    with pytest.raises(ValueError, match="inputs has rgb; this net takes rgb, depth"):
        net(inputs("rgb"))
    with pytest.raises(ValueError, match="inputs differ in size"):
        net({"rgb": torch.zeros(1, 3, 8, 8), "depth": torch.zeros(1, 1, 8, 9)})


def test_modality_missing_from_the_data_is_refused():
    from fcnexp import build
    from fcnexp.config.compose import compose_run

    with pytest.raises(ConfigError, match="modality takes rgb, hha, but .* choose data=nyud"):
        build.dry_run(compose_run(["data=voc", "modality=rgb_hha"]))


@pytest.mark.parametrize("damage", ["trained", "other depth"])
def test_a_different_fixed_upsampling_is_refused(damage):
    net = network([*SMALL, "modality=rgb"])
    kernel = constants(net)["upscore16"].blob().numpy().copy()
    if damage == "trained":
        kernel[0, 1, 3, 3] = 0.01
    else:
        kernel = kernel[..., 1:, 1:]
    with pytest.raises(WeightsError, match="layer upscore16 is fixed in this net"):
        load_blobs(net, made_up(net) | {"upscore16": [kernel]})


def test_scaled_and_unscaled_nets_refuse_each_others_weights():
    plain, scaled = (
        network(["backbone=alexnet", "head.channels=4", "data=voc", f"model={m}"])
        for m in ("fcn8s", "fcn8s_atonce")
    )
    values = {name: [constant.blob().numpy()] for name, constant in constants(scaled).items()}
    assert sorted(n for n in values if "scale" in n) == ["scale_pool3", "scale_pool4"]
    load_blobs(scaled, made_up(scaled) | values)
    hint = "scale_pool3, scale_pool4: in the file only; choose model=fcn8s_atonce:"
    with pytest.raises(WeightsError, match=hint):
        load_blobs(plain, made_up(plain) | values)
    hint = "scale_pool3, scale_pool4: in the net only; choose model=fcn8s:"
    with pytest.raises(WeightsError, match=hint):
        load_blobs(scaled, made_up(plain))


def test_a_complete_net_loads_with_another_number_of_classes():
    found = network([*SMALL, "modality=rgb"])
    source_blobs = made_up(found) | {n: [c.blob().numpy()] for n, c in constants(found).items()}
    net = network([*SMALL, "modality=rgb", "data=voc"])
    report = load_blobs(net, source_blobs, strict=False)
    assert sorted(report.new) == ["score_fr", "score_pool4"]
    np.testing.assert_array_equal(blobs(net)["conv5"][0].detach(), source_blobs["conv5"][0])


def test_values_of_a_field_missing_from_the_modality_are_refused():
    with pytest.raises(ConfigError, match="modality: depth=.* this modality has no such field"):
        network(["+modality.depth.mean=3"])
