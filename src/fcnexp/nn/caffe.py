"""The stable names for reading Caffe weights; the code is in `fcnexp.nn.weights`."""

from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.surgery import load_blobs

__all__ = ["load_blobs", "read_caffemodel"]
