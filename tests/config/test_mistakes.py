"""Mistakes in arguments: the exact sentence, and that what it proposes arrives when pasted."""

import shlex
import subprocess

import pytest
from commands import fcnexp

from fcnexp.build import network
from fcnexp.cli.arguments import may_sweep, prepared
from fcnexp.config.quoting import read
from fcnexp.errors import ConfigError

MODELS = (
    "deconvnet, deeplabv3_resnet50, fcn16s, fcn1s, fcn2s, fcn32s, fcn32s_fixed, fcn4s, fcn8s, "
    "fcn8s_atonce, fcn_pool3, fcn_pool4, fcn_pool5, fcn_resnet50, lraspp_mobilenet_v3_large, smp"
)
# What was typed, the sentence, and the value that its proposal gives, {} being the proposal.
SENTENCES = {
    "unbalanced quote": (
        ["logger.wandb.project='x"],
        "logger.wandb.project='x: cannot be read as it is; write {}",
        "'x",
        "'logger.wandb.project=\"'\"'\"'x\"'",
    ),
    "parentheses": (
        ["logger.wandb.project=pets (old)"],
        "logger.wandb.project=pets (old): cannot be read as it is; write {}",
        "pets (old)",
        "'logger.wandb.project=\"pets (old)\"'",
    ),
    "letters beyond ASCII": (
        ["logger.wandb.project=größe"],
        "logger.wandb.project=größe: cannot be read as it is; write {}",
        "größe",
        "'logger.wandb.project=\"größe\"'",
    ),
    "text with a comma": (
        ["logger.wandb.project=a,b"],
        "logger.wandb.project=a,b: several values; as one text, write {}; to run each, add -m: "
        "python -m fcnexp.train -m logger.wandb.project=a,b",
        "a,b",
        "'logger.wandb.project=\"a,b\"'",
    ),
    "list without brackets": (
        ["data.side=48,64"],
        "data.side=48,64: a list needs brackets: {}",
        [48, 64],
        "'data.side=[48,64]'",
    ),
    "list cut by the shell": (
        ["data.side=[48,", "64]"],
        "data.side=[48,: cut at a space by the shell; write {}",
        [48, 64],
        "'data.side=[48, 64]'",
    ),
    "list with an odd item": (
        ["plain=[border,a(b]"],
        "plain=[border,a(b]: cannot be read as it is; write {}",
        ["border", "a(b"],
        "'plain=[border,\"a(b\"]'",
    ),
    "list left open": (
        ["data.side=[48,64"],
        "data.side=[48,64: cannot be read as it is; data.side is a list, such as {}",
        [112, 144],
        "'data.side=[112,144]'",
    ),
    "number left open": (
        ["regime.lr=[1"],
        "regime.lr=[1: cannot be read as it is; regime.lr is a number, such as {}",
        0.002,
        "regime.lr=0.002",
    ),
    "truth left open": (
        ["keep_best=(yes"],
        "keep_best=(yes: cannot be read as it is; keep_best is true or false, such as {}",
        False,
        "keep_best=false",
    ),
    "text cut by the shell": (
        ["logger.wandb.project=my", "pets"],
        "pets: no KEY=VALUE; if it belongs to the argument before, write {}",
        "my pets",
        "'logger.wandb.project=my pets'",
    ),
    "file name cut by the shell": (
        ["init.path=my", "net.ckpt"],
        "net.ckpt: no KEY=VALUE; if it belongs to the argument before, write {}",
        "my net.ckpt",
        "'init.path=my net.ckpt'",
    ),
    "option added": (
        ["+model=fcn8s"],
        "+model=fcn8s: model exists, so leave out the +: {}",
        "fcn8s",
        "model=fcn8s",
    ),
    "key added": (
        ["+logger.wandb.project=a b"],
        "+logger.wandb.project=a b: logger.wandb.project exists, so leave out the +: {}",
        "a b",
        "'logger.wandb.project=a b'",
    ),
    "dashes": (["--seed", "4"], "--seed: leave out the dashes: {}", 4, "seed=4"),
    "dashes, and a key inside": (
        ["--batch-size=4"],
        "--batch-size: leave out the dashes: {}",
        4,
        "regime.batch_size=4",
    ),
    "dashes, and a group": (
        ["--model"],
        f"--model: leave out the dashes: model={MODELS.replace(', ', '|')}",
    ),
    "dashes, and signs": (
        ["--init.path", "a (1).ckpt", "init=checkpoint"],
        "--init.path: leave out the dashes: {}",
        "a (1).ckpt",
        "'init.path=\"a (1).ckpt\"'",
    ),
    "two options": (
        ["model=fcn32s,fcn8s", "logger.wandb.project=my pets"],
        "model=fcn32s,fcn8s: several values; to run each, add -m: {}",
        {"model": ["fcn32s", "fcn8s"], "logger.wandb.project": "my pets"},
        "python -m fcnexp.train -m model=fcn32s,fcn8s 'logger.wandb.project=my pets'",
    ),
    "two numbers": (
        ["regime.lr=0.1,0.2"],
        "regime.lr=0.1,0.2: several values; to run each, add -m: {}",
        {"regime.lr": ["0.1", "0.2"]},
        "python -m fcnexp.train -m regime.lr=0.1,0.2",
    ),
    "a range": (
        ["seed=range(1,3)"],
        "seed=range(1,3): several values; to run each, add -m: {}",
        {"seed": ["1", "2"]},
        "python -m fcnexp.train -m 'seed=range(1,3)'",
    ),
    "a group alone": (["model"], f"model: no value given; write model=VALUE, one of {MODELS}"),
    "a key alone": (["seed"], "seed: no value given; write seed=VALUE"),
    "a word alone": (
        ["sead"],
        "sead: no KEY=VALUE (did you mean seed?); --cfg job prints all keys",
    ),
    "no key": (["=3"], "=3: no key; write KEY=VALUE, such as seed=1"),
    "a key with spaces": (
        ["my seed=3"],
        "my seed=3: cannot be read; write KEY=VALUE, such as seed=1",
    ),
    "a key to delete": (
        ["~sead"],
        "sead: no such key (did you mean seed?); --cfg job prints them all",
    ),
    "a flag's value": (["--cfg", "jib"], "--cfg jib: allowed are job, hydra, all"),
    "a flag without value": (
        ["--config-dir"],
        "--config-dir: needs a value, such as --config-dir DIR",
    ),
    "two flags": (
        ["--cfg", "job", "--run"],
        "Only one of --run, --multirun, --cfg, --info and --shell_completion can be specified",
    ),
    "epochs": (
        ["trainer.max_epochs=3"],
        "trainer.max_epochs: an argument of Lightning's Trainer, which needs a + before: "
        "+trainer.max_epochs=VALUE",
    ),
    "no epochs": (
        ["+trainer.max_epochs=0"],
        "trainer.max_epochs=0: must be a whole number, 1 or more",
    ),
    "two batches": (
        ["+trainer.limit_train_batches=2"],
        "trainer.limit_train_batches=2: shortens epochs, and this run counts steps; add "
        "+trainer.max_epochs=N, or write regime.steps=2",
    ),
    "a key of a fixed node": (
        ["+trainer.presicion=32"],
        "trainer.presicion: no such key (did you mean trainer.precision?); trainer has "
        "accelerator, devices, precision, tf32, deterministic, compile, activation_checkpointing, "
        "threads; --cfg job prints them all",
    ),
    "a key of other options": (
        ["init.path=x.caffemodel"],
        "init.path: no such key here; init.path belongs to init=caffemodel or "
        "init=caffemodel_googlenet or init=checkpoint",
    ),
    "a key of another option, without its group": (
        ["upright=true"],
        "upright: no such key here; data.upright belongs to data=folder",
    ),
    "a GPU by number": (
        ["trainer.devices=[1]"],
        "trainer.devices=[1]: must be a number of devices, 1 or more; to choose GPUs, write "
        "CUDA_VISIBLE_DEVICES=1 before the command, with trainer.devices=1",
    ),
    "GPUs by number": (
        ["trainer.devices=[0, 2]"],
        "trainer.devices=[0,2]: must be a number of devices, 1 or more; to choose GPUs, write "
        "CUDA_VISIBLE_DEVICES=0,2 before the command, with trainer.devices=2",
    ),
    "all GPUs": (
        ["trainer.devices=-1"],
        "trainer.devices=-1: must be a number of devices, 1 or more; to choose GPUs, write "
        "CUDA_VISIBLE_DEVICES=0,1 before the command, with trainer.devices=2",
    ),
}


def pasted(proposal: str) -> list[str]:
    """Return the words that bash makes of a proposal."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {proposal}"], capture_output=True, check=True
    )
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("mistake", SENTENCES)
def test_a_mistake_is_answered_in_one_sentence(mistake, tmp_path):
    typed, sentence, *proposed = SENTENCES[mistake]
    if proposed:
        sentence = sentence.format(proposed[1])
    done = fcnexp("train", *typed, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {sentence}\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("mistake", [name for name, case in SENTENCES.items() if case[2:]])
def test_what_is_proposed_arrives_when_pasted(mistake):
    _, _, value, proposal = SENTENCES[mistake]
    words = pasted(proposal)
    if not isinstance(value, dict):
        (word,) = prepared(words, "train")
        assert read(word).value() == value
        return
    assert words[:3] == ["python", "-m", "fcnexp.train"] and may_sweep(words[3:])
    for word in prepared(words[3:], "train")[1:]:
        override = read(word)
        given = value[override.key_or_group]
        if isinstance(given, list):
            assert list(override.sweep_string_iterator()) == given
        else:
            assert override.value() == given


OTHERS = {
    "predict --checkpoint net.ckpt": "--checkpoint: leave out the dashes: checkpoint=net.ckpt",
    "predict --checkpoint 'a b.ckpt' input=x": (
        "--checkpoint: leave out the dashes: 'checkpoint=a b.ckpt'"
    ),
    "predict --nonsense=3": "nonsense: no such key; --cfg job prints them all",
    "predict memory=1GB,2GB": ("memory=1GB,2GB: several values; memory takes one"),
    "evaluate trainer.devices=[0] run=x": (
        "trainer.devices=[0]: must be a number of devices, 1 or more; to choose GPUs, write "
        "CUDA_VISIBLE_DEVICES=0 before the command, with trainer.devices=1"
    ),
    "prepare chek data=folder": (
        "chek: no such task (did you mean check?); choose check, bands or hha, or none; say which "
        "data by data=..., for a folder of your own data=folder data.root=FOLDER"
    ),
    "explain --figure": (
        "--figure: leave out the dashes: figure=class_maps|fusion|receptive_field"
    ),
}


@pytest.mark.parametrize("typed", OTHERS)
def test_other_commands_answer_alike(typed, tmp_path):
    command, *arguments = shlex.split(typed)
    done = fcnexp(command, *arguments, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and done.stderr == f"error: {OTHERS[typed]}\n"


def test_options_of_ones_own_folder_are_listed_and_proposed(tmp_path):
    home = tmp_path / "my conf"
    for name in ("backbone/mynet", "mine/first"):
        (home / name).parent.mkdir(parents=True)
        (home / f"{name}.yaml").write_text("_target_: fcnexp.nn.backbones.tiny.Tiny\n")

    def said(*arguments: str) -> str:
        done = fcnexp("train", "--config-dir", "my conf", *arguments, folder=tmp_path, cache=home)
        return done.stderr

    assert said("backbone=mynat") == (
        "error: backbone=mynat: no such option (did you mean mynet?); choose one of alexnet, "
        "googlenet, mynet, none, resnet18, timm, tiny, torchvision, vgg16, vgg16_bn\n"
    )
    assert said("+mine=fist") == (
        "error: mine=fist: no such option (did you mean first?); choose one of first\n"
    )
    assert "regime.lrr: no such key (did you mean regime.lr?)" in said(
        "backbone=mynet", "regime.lrr=1"
    )
    done = fcnexp("train", "--config-dir", "gone", folder=tmp_path, cache=home)
    assert done.stderr == f"error: --config-dir {tmp_path / 'gone'}: no such folder\n"


PYTHON = {
    "model=fcn8z": f"model=fcn8z: no such option (did you mean fcn8s?); choose one of {MODELS}",
    "model=fcn32s,fcn8s": "model=fcn32s,fcn8s: several values; model takes one",
    "regime.lrr=1": "regime.lrr: no such key (did you mean regime.lr?); regime has ",
    "seed=(": "seed=(: cannot be read as it is; seed is a number, such as seed=0",
}


@pytest.mark.parametrize("override", PYTHON)
def test_a_net_for_a_program_raises_our_error(override):
    with pytest.raises(ConfigError) as caught:
        network([override])
    assert str(caught.value).startswith(PYTHON[override])
