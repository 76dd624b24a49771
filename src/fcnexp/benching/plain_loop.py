"""Data loading and validation of the textbook net, as in a plain script.

It does the same work as torchfcn; if torchfcn is installed, its datasets and scores are used.
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


def voc(found: Photographs) -> Dataset[tuple[Tensor, Tensor]]:
    """Photographs with VOC labels, read by torchfcn's dataset if it is installed."""
    if (package := peer.torchfcn()) is not None:
        return package.datasets.VOC2012ClassSeg(found.root, split="val", transform=True)
    images, labels = found.voc / "JPEGImages", found.voc / "SegmentationClass"
    return PlainVoc([(images / f"{i}.jpg", labels / f"{i}.png") for i in found.voc_ids])


def sbd(found: Photographs) -> Dataset[tuple[Tensor, Tensor]]:
    """Photographs with SBD labels, read by torchfcn's dataset if it is installed."""
    if (package := peer.torchfcn()) is not None:
        return package.datasets.SBDClassSeg(found.root, split="val", transform=True)
    images, labels = found.sbd / "img", found.sbd / "cls"
    return PlainVoc([(images / f"{i}.jpg", labels / f"{i}.mat") for i in found.sbd_ids])


def loader(data: Dataset[Any], device: torch.device, workers: int | None = None) -> DataLoader[Any]:
    """Return a loader with batch size 1, as in torchfcn's example: workers only for a GPU."""
    on_gpu = device.type == "cuda"
    count = (4 if on_gpu else 0) if workers is None else workers
    return DataLoader(data, batch_size=1, shuffle=False, num_workers=count, pin_memory=on_gpu)


def validate(net: nn.Module, data: Dataset[Any], device: torch.device) -> float:
    """Mean IU of a net on a data set, computed as in `torchfcn.trainer.Trainer.validate`.

    Its pictures, log and checkpoint are left out.
    """
    truths, predictions, total = [], [], 0.0
    for image, label in loader(data, device):
        image, label = image.to(device), label.to(device)
        with torch.no_grad():
            scores = net(image)
        total += peer.cross_entropy2d(scores, label).item() / len(image)
        predictions.append(scores.max(1)[1].cpu().numpy()[0])
        truths.append(label.cpu().numpy()[0])
    if (package := peer.torchfcn()) is None:
        return mean_iu(truths, predictions)
    return float(package.utils.label_accuracy_score(truths, predictions, NUM_CLASSES)[2])


def mean_iu(truths: list[np.ndarray], predictions: list[np.ndarray]) -> float:
    """Mean IU from one confusion matrix of all label maps; classes without pixels are left out."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES))
    for truth, prediction in zip(truths, predictions, strict=True):
        labelled = truth >= 0
        cells = NUM_CLASSES * truth[labelled].astype(int) + prediction[labelled]
        matrix += np.bincount(cells, minlength=NUM_CLASSES**2).reshape(matrix.shape)
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(hits / (matrix.sum(0) + matrix.sum(1) - hits)))
