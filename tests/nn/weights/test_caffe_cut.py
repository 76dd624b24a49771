"""A truncated `.caffemodel` is refused, or read as protobuf reads it; bit flips: test_fuzz."""

import numpy as np
import pytest
from caffe_files import save
from caffe_nets import NET, as_protobuf_reads, same_blobs, small_file
from google.protobuf.message import DecodeError

from fcnexp.errors import WeightsError
from fcnexp.nn.weights.caffe import read_caffemodel

CUTS = 50


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_truncated_files_are_refused_or_read_as_protobuf_reads_them(form, tmp_path):
    whole = small_file(form)
    for place in np.linspace(0, len(whole) - 1, CUTS // 2).astype(int).tolist():
        path = save(tmp_path, whole[:place])
        try:
            ours = read_caffemodel(path)
        except WeightsError as error:
            assert str(path) in str(error)
        else:
            assert same_blobs(ours, as_protobuf_reads(whole[:place])) and len(ours) < 3


def test_reference_reader_is_right():
    for form in ("v1", "v2"):
        found = as_protobuf_reads(small_file(form))
        assert list(found) == ["conv1", "fc6", "score_fr"] and found["conv1"][0].size == 54
    with pytest.raises(DecodeError):
        NET.FromString(b"\xa2\x06\x05abc")
