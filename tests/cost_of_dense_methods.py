"""Time and memory of every dense method, from coarse to dense scores; not a test.

python tests/cost_of_dense_methods.py [SIDE ...]  prints a table per side; default 224 and 500

Each method runs in its own process, one after another, on one random image. `naive` is the fastest
of several passes of the plain scorer times 1024, the number of shifts, on an image that is one cell
(32 pixels) longer per axis so that shifts lose no pixels, as dense.shared=false does. Passes on the
unpadded image are listed for comparison.
GiB is the increase of the process's peak memory. `trunk` has one 1x1 score layer on the deepest
map, `net` the published head of 4096 channels; both pad the image by 100 pixels unless stated
otherwise.
"""

import json
import resource
import subprocess
import sys
import time

import torch

from fcnexp.build import network

NETS = {
    "AlexNet trunk": ["backbone=alexnet", "head=linear"],
    "AlexNet net": ["backbone=alexnet", "head=fc"],
    "VGG16 trunk, pad 1": ["backbone=vgg16", "head=linear", "backbone.pad=1"],
    "VGG16 trunk": ["backbone=vgg16", "head=linear"],
    "VGG16 net": ["backbone=vgg16", "head=fc"],
}
METHODS = {
    "FCN-32s, deconvolution": ["model=fcn32s", "dense=deconv_fixed"],
    "FCN-8s, deconvolution": ["model=fcn8s", "dense=deconv_fixed"],
    "FCN-32s, bilinear": ["model=fcn32s", "dense=bilinear"],
    "rarefaction to 8": ["model=fcn32s", "dense=rarefaction", "dense.stride=8"],
    "rarefaction to 1": ["model=fcn32s", "dense=rarefaction", "dense.stride=1"],
    "shift-and-stitch to 8": ["model=fcn32s", "dense=shift_and_stitch", "dense.stride=8"],
    "shift-and-stitch to 1": ["model=fcn32s", "dense=shift_and_stitch", "dense.stride=1"],
}
NAIVE = "shift-and-stitch, naive"
SAME_SIZE = "1024 passes on the unpadded image"
PASSES = {NAIVE: 32, SAME_SIZE: 0}  # pixels added to each axis of the image
PLAIN = "FCN-32s, deconvolution"


def measure(net: str, method: str, side: int) -> dict[str, float]:
    """Seconds for one image, the minimum over several runs, and GiB in addition to the weights."""
    overrides = [*NETS[net], *METHODS.get(method, METHODS[PLAIN])]
    model = network([*overrides, "data=voc"])
    side += PASSES.get(method, 0)
    image = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, begun = [], time.monotonic()
    with torch.inference_mode():
        while len(seconds) < 2 or (time.monotonic() - begun < 4 and len(seconds) < 20):
            start = time.monotonic()
            model.net.scorer(image) if method in PASSES else model({"rgb": image})
            seconds.append(time.monotonic() - start)
            if seconds[0] > 60:
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": min(seconds) * (1024 if method in PASSES else 1), "gib": peak / 2**20}


def main() -> None:
    """Print the tables, or measure one method and print it as JSON."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for side in [int(argument) for argument in sys.argv[1:]] or [224, 500]:
        for net in NETS:
            print(f"\n{net}, {side}x{side}")
            print("| method | seconds | naive / this | GiB |\n|---|---|---|---|")
            naive = 0.0
            for method in [*PASSES, *METHODS]:
                command = [sys.executable, __file__, "--one", net, method, str(side)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"| {method} | failed: exit code {done.returncode} | | |", flush=True)
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                naive = naive or found["seconds"]
                ratio = naive / found["seconds"]
                print(
                    f"| {method} | {found['seconds']:.3g} | {ratio:.3g} | {found['gib']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
