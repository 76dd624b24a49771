"""Whole nets score as in their own library, and take weights as it stores them."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from fcnexp import build
from fcnexp.config.overrides import checked
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.fast.recompute import recompute_blocks
from fcnexp.nn.layers import widen
from fcnexp.nn.weights import download

NAMES = ("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large")
SIZES = [(1, 1), (33, 65), (7, 90), (64, 64)]  # height, width
CLASSES = 8  # of data=shapes


def theirs(name: str, classes: int = CLASSES, *, aux: bool = False) -> nn.Module:
    """Return torchvision's net with random weights, statistics and score layers."""
    torch.manual_seed(0)
    more = {} if name.startswith("lraspp") else {"aux_loss": aux}
    net = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=classes, **more
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


def saved(net: nn.Module, folder) -> str:
    torch.save(net.state_dict(), folder / "net.pth")
    return f"init.path={folder / 'net.pth'}"


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=NAMES)
def both(request, tmp_path):
    """torchvision's net, and ours with weights from its file."""
    other = theirs(request.param, aux=True)  # as published: the head is not used
    path = saved(other, tmp_path)
    return build.network([f"model={request.param}", "init=checkpoint", path]), other


def test_scores_equal_torchvisions_own_at_any_size(both):
    net, other = both
    for size in SIZES:
        x = images(*size)
        with torch.inference_mode():
            found, expected = net({"rgb": x}), other(x)["out"]
        assert found.shape == (2, CLASSES, *size) and expected.std() > 0
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_images_of_a_mixed_batch_have_the_scores_they_have_alone(both):
    net, _ = both
    x = images(40, 48)
    x[1, :, 33:], x[1, :, :, 37:] = 0, 0
    with torch.inference_mode():
        found = net.score_each({"rgb": x}, [(40, 48), (33, 37)])
        alone = net({"rgb": x[1:, :, :33, :37]})
    assert (found[1:, :, :33, :37] - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_auxiliary_loss_is_torchvisions(tmp_path):
    """As in torchvision's references: the loss of `out`, and 0.5 times that of `aux`."""
    other = theirs("fcn_resnet50", aux=True)
    typed = ["model=fcn_resnet50", "model.aux=0.5", "init=checkpoint", saved(other, tmp_path)]
    cfg = checked([*typed, "trainer=cpu", "logger=csv"])
    task = build.build_task(cfg, build.part(cfg, "data")).train().double()
    other = other.train().double()
    x, label = images(64, 48).double(), torch.randint(0, CLASSES, (2, 64, 48))

    class Batch:
        fields, sizes, names = {"rgb": x}, torch.tensor([[64, 48]] * 2), ["a", "b"]

    Batch.label = label
    task.recipe.apply = lambda fields, sizes: fields
    task.log = lambda *_, **__: None
    for module in [*task.modules(), *other.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0  # its draws depend on the layout of memory
    loss = task.training_step(Batch(), 0)
    made = other(x)
    expected = F.cross_entropy(made["out"], label) + 0.5 * F.cross_entropy(made["aux"], label)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    loss.backward(), expected.backward()
    gradient = task.net.scorers()["rgb"].backbone.trunk.layer3[-1].conv3.weight.grad
    expected = other.backbone.layer3[-1].conv3.weight.grad  # both heads are behind it
    assert expected.norm() > 0 and (gradient - expected).norm() <= 1e-6 * expected.norm()
    task.eval()
    assert task.net({"rgb": x}).shape == (2, CLASSES, 64, 48) and task.net.side_scores() == []


def test_recomputed_blocks_have_the_same_gradients_and_statistics():
    """LR-ASPP's trunk has layers named `block`, the name of the method that VGG16 recomputes."""
    plain = build.network(["model=lraspp_mobilenet_v3_large"]).train()
    for layer in plain.score_layers():
        nn.init.normal_(layer.weight)
    other = copy.deepcopy(plain)
    assert recompute_blocks(other) > 5
    for net in (plain, other):
        net({"rgb": images(33, 40)}).square().mean().backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert one.grad.any() and torch.equal(one.grad, two.grad)
    assert all(map(torch.equal, plain.buffers(), other.buffers()))


def test_without_auxiliary_loss_the_net_has_no_such_head():
    net = build.network(["model=fcn_resnet50"])
    assert not any("aux" in name for name in net.state_dict())
    net.train()({"rgb": images(33, 33)})
    assert net.side_scores() == []


def test_net_with_other_classes_keeps_new_score_layers(tmp_path):
    other = theirs("lraspp_mobilenet_v3_large", 21)
    path = saved(other, tmp_path)
    cfg = checked(["model=lraspp_mobilenet_v3_large", "init=checkpoint", path])
    net, _ = build.build_net(cfg, {"class": CLASSES})
    new = build.first_weights(cfg, net)
    own = net.scorers()["rgb"]
    layers = own.score_layers()
    assert set(layers) == {"score_high", "score_low"}
    assert {id(p) for p in new} == {id(p) for m in layers.values() for p in m.parameters()}
    assert not any(layer.weight.any() for layer in layers.values())
    for name, value in other.backbone.state_dict().items():
        assert torch.equal(own.backbone.trunk.state_dict()[name], value)
    assert torch.equal(own.head.classifier.cbr[0].weight, other.classifier.cbr[0].weight)


@pytest.mark.parametrize(
    ("model", "classifier", "start"),
    [
        ("deeplabv3_resnet50", "resnet50", ""),
        ("lraspp_mobilenet_v3_large", "mobilenet_v3_large", "features."),
    ],
)
def test_imagenet_weights_fill_the_backbone(model, classifier, start, tmp_path, monkeypatch):
    """Random ones under the published file's name; depth gets the mean of the colour filters."""
    torch.manual_seed(0)
    weights = torchvision.models.get_model(classifier, weights=None).state_dict()
    typed = [f"model={model}", "init=imagenet", f"init.folder={tmp_path}", "data=rooms"]
    typed += ["modality=rgbd", "modality.rgb.order=rgb"]
    cfg = checked(typed)
    net, _ = build.build_net(cfg, {"class": CLASSES})
    scorer = net.scorers()["rgb"]
    torch.save(weights, tmp_path / scorer.backbone.imagenet.file)
    monkeypatch.setattr(download, "_check", lambda path, published: None)
    new = build.first_weights(cfg, net)
    first, *others = scorer.backbone.trunk.state_dict().items()
    assert torch.equal(first[1], torch.from_numpy(widen(weights[f"{start}{first[0]}"].numpy(), 4)))
    assert torch.allclose(first[1][:, 3], first[1][:, :3].mean(1), atol=1e-6)
    assert all(torch.equal(value, weights[f"{start}{name}"]) for name, value in others)
    assert {id(p) for p in new} == {id(p) for p in scorer.head.parameters()}


def test_late_fusion_is_the_mean_of_two_nets():
    net = build.network(["model=lraspp_mobilenet_v3_large", "modality=rgb_hha", "data=rooms"])
    for layer in net.score_layers():
        nn.init.normal_(layer.weight)
    x = {"rgb": images(33, 40), "hha": images(33, 40).flip(0)}
    with torch.inference_mode():
        apart = [scorer(x[name]) for name, scorer in net.scorers().items()]
        assert torch.allclose(net(x), sum(apart) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["head=fc"], r"takes no head \(FcHead\); leave them out, .* add backbone=none head=none"),
        (["backbone=vgg16"], r"takes no backbone \(VGG16\)"),
        (["dense=bilinear"], r"takes no dense \(Bilinear\)"),
        (["model.name=unet"], "name=unet: torchvision has deeplabv3_mobilenet_v3_large, "),
        (["model.aux=-1"], "aux=-1: must be the weight of a loss, 0 or more, such as 0.5"),
    ],
)
def test_what_does_not_apply_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build.network(["model=deeplabv3_resnet50", *overrides])


def test_none_is_only_for_whole_nets():
    with pytest.raises(ConfigError, match="^head=none: only for whole nets, .* is SkipNet; choose"):
        build.network(["head=none"])


def test_auxiliary_loss_of_a_net_without_that_head_is_refused():
    with pytest.raises(ConfigError, match="aux=0.4: lraspp.* has no auxiliary head; set aux=0"):
        build.network(["model=lraspp_mobilenet_v3_large", "model.aux=0.4"])


@pytest.mark.parametrize(("model", "refused"), [("deeplabv3_resnet50", True), (NAMES[0], False)])
def test_one_image_per_pass_is_refused_if_its_mean_is_normalised(model, refused):
    cfg = checked([f"model={model}", "regime.batch_size=1", "logger=csv", "trainer=cpu"])
    if refused:
        with pytest.raises(ConfigError, match="regime.batch_size=1: .* choose regime.batch_size=2"):
            build.dry_run(cfg)
    else:
        build.dry_run(cfg)


def test_weights_of_another_net_or_order_of_colours_are_refused(tmp_path):
    path = saved(theirs("lraspp_mobilenet_v3_large"), tmp_path)
    with pytest.raises(
        WeightsError, match="lraspp.*: another net: it has no backbone.conv1.weight"
    ):
        build.network(["model=fcn_resnet50", "init=checkpoint", path])
    typed = ["model=lraspp_mobilenet_v3_large", "init=checkpoint", path, "modality=rgb"]
    with pytest.raises(
        WeightsError, match="takes RGB, but the modality gives BGR; choose modality"
    ):
        build.network(typed)


@pytest.mark.parametrize("name", NAMES)
def test_other_models_name_the_one_that_reads_the_file(name, tmp_path):
    path = saved(theirs(name, aux=True), tmp_path)
    with pytest.raises(WeightsError, match=f"model={name}"):
        build.network(["backbone=resnet18", "init=checkpoint", path])


def test_caffemodel_and_stages_do_not_apply(tmp_path):
    typed = ["model=fcn_resnet50", "init=caffemodel", "init.path=x"]
    with pytest.raises(WeightsError, match="has no Caffe original; choose backbone=vgg16"):
        build.network(typed)
