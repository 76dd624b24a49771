"""Reading and scoring as a plain script does it: the textbook net's surroundings.

Of the peer's own it differs in nothing that costs time; where the peer is installed, its dataset
and its scores are used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fcnexp.benching import peer
from fcnexp.benching.photographs import Photographs

MEAN_BGR = np.array([104.00698793, 116.66876762, 122.67891434])
NUM_CLASSES = 21


class PlainVoc(Dataset[tuple[Tensor, Tensor]]):
    """Photographs as float32 (3, H, W), BGR minus mean, with labels int64 (H, W), -1 for void."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]]) -> None:
        self.pairs = list(pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair."""
        image_path, label_path = self.pairs[index]
        image = np.array(Image.open(image_path), dtype=np.uint8)[:, :, ::-1].astype(np.float64)
        image -= MEAN_BGR
        if label_path.suffix == ".mat":
            label = scipy.io.loadmat(label_path)["GTcls"][0]["Segmentation"][0].astype(np.int32)
        else:
            label = np.array(Image.open(label_path), dtype=np.int32)
        label[label == 255] = -1
        return torch.from_numpy(image.transpose(2, 0, 1)).float(), torch.from_numpy(label).long()


def voc(photographs: Photographs) -> Dataset[tuple[Tensor, Tensor]]:
    """Photographs with VOC's labels, read by the peer's dataset where it is installed."""
    package = peer.torchfcn()
    if package is not None:
        return package.datasets.VOC2012ClassSeg(photographs.root, split="val", transform=True)
    folder = photographs.voc
    return PlainVoc(
        [
            (folder / "JPEGImages" / f"{i}.jpg", folder / "SegmentationClass" / f"{i}.png")
            for i in photographs.voc_ids
        ]
    )


def sbd(photographs: Photographs) -> Dataset[tuple[Tensor, Tensor]]:
    """Photographs with SBD's labels, read by the peer's dataset where it is installed."""
    package = peer.torchfcn()
    if package is not None:
        return package.datasets.SBDClassSeg(photographs.root, split="val", transform=True)
    folder = photographs.sbd
    return PlainVoc(
        [(folder / "img" / f"{i}.jpg", folder / "cls" / f"{i}.mat") for i in photographs.sbd_ids]
    )


def loader(data: Dataset[Any], device: torch.device, workers: int | None = None) -> DataLoader[Any]:
    """Images one by one, as the peer's example loads them: with processes only for a GPU."""
    on_gpu = device.type == "cuda"
    count = (4 if on_gpu else 0) if workers is None else workers
    return DataLoader(data, batch_size=1, shuffle=False, num_workers=count, pin_memory=on_gpu)


def validate(net: nn.Module, data: Dataset[Any], device: torch.device) -> float:
    """Mean IU of a net on a data set, as `torchfcn.trainer.Trainer.validate` has it.

    Left out are its pictures, its log and its checkpoint.
    """
    truths, predictions, total = [], [], 0.0
    batches = loader(data, device)
    for image, label in batches:
        image, label = image.to(device), label.to(device)
        with torch.no_grad():
            scores = net(image)
        total += peer.cross_entropy2d(scores, label).item() / len(image)
        predictions.append(scores.max(1)[1].cpu().numpy()[0])
        truths.append(label.cpu().numpy()[0])
    package = peer.torchfcn()
    score = mean_iu if package is None else _peer_mean_iu
    return score(truths, predictions)


def _peer_mean_iu(truths: list[np.ndarray], predictions: list[np.ndarray]) -> float:
    return float(peer.torchfcn().utils.label_accuracy_score(truths, predictions, NUM_CLASSES)[2])


def mean_iu(truths: list[np.ndarray], predictions: list[np.ndarray]) -> float:
    """Mean IU of label maps from one matrix over all, classes that are nowhere left out."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES))
    for truth, prediction in zip(truths, predictions, strict=True):
        labelled = truth >= 0
        cells = NUM_CLASSES * truth[labelled].astype(int) + prediction[labelled]
        matrix += np.bincount(cells, minlength=NUM_CLASSES**2).reshape(matrix.shape)
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(hits / (matrix.sum(0) + matrix.sum(1) - hits)))
