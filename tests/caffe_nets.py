"""Small caffemodels, and a reference reader built on protobuf."""

import caffe_files as write
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# The part of caffe.proto that holds weights: message, field, number, type; * is repeated.
PROTO = """
    Shape dim* 1 int64
    Blob num 1 int32 | channels 2 int32 | height 3 int32 | width 4 int32 | data* 5 float
    Blob shape 7 Shape | double_data* 8 double
    Layer name 1 bytes | blobs* 7 Blob
    OldLayer name 4 bytes | blobs* 6 Blob
    Net layer* 100 Layer | layers* 2 OldLayer
"""


def protobuf_net():
    """Return protobuf's reader of these messages, with names as bytes: we check UTF-8 ourselves."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe_part.proto", package="part")
    messages = {}
    for line in PROTO.split("\n"):
        owner, _, fields = line.strip().partition(" ")
        for words in filter(None, (f.split() for f in fields.split("|"))):
            if owner not in messages:
                messages[owner] = file.message_type.add(name=owner)
            field = messages[owner].field.add(name=words[0].strip("*"), number=int(words[1]))
            field.label = field.LABEL_REPEATED if "*" in words[0] else field.LABEL_OPTIONAL
            if words[2][0].isupper():
                field.type, field.type_name = field.TYPE_MESSAGE, f".part.{words[2]}"
            else:
                field.type = getattr(field, f"TYPE_{words[2].upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("part.Net"))


NET = protobuf_net()


def as_protobuf_reads(content: bytes) -> dict[str, list[np.ndarray]]:
    net = NET.FromString(content)
    found = {}
    for layer in [*net.layer, *net.layers]:
        arrays = []
        for blob in layer.blobs:
            old = [axis for axis in ("num", "channels", "height", "width") if blob.HasField(axis)]
            shape = [blob.num, blob.channels, blob.height, blob.width] if old else blob.shape.dim
            values = list(blob.data) or list(blob.double_data)
            arrays.append(np.array(values, np.float32).reshape(tuple(shape)))
        if arrays:
            found[layer.name.decode()] = arrays
    return found


def small_file(form: str) -> bytes:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": [(2, 3, 3, 3), (2,)],
        "fc6": [(4, 18), (4,)],
        "score_fr": [(3, 4, 1, 1), (3,)],
    }
    blobs = {n: [rng.normal(size=s).astype(np.float32) for s in each] for n, each in shapes.items()}
    return write.net_v2(blobs) if form == "v2" else write.net_v1(blobs)


def same_blobs(ours: dict[str, list[np.ndarray]], theirs: dict[str, list[np.ndarray]]) -> bool:
    return list(ours) == list(theirs) and all(
        len(arrays) == len(theirs[name]) and all(map(np.array_equal, arrays, theirs[name]))
        for name, arrays in ours.items()
    )
