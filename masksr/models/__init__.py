"""The networks: three generators, two discriminators, VGG19's features, and their weights on disk.

Every network reads and writes the key names of its public implementation, so that public checkpoints load strictly.
"""

from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR, transfer_body
from masksr.models.rrdb import RRDBNet
from masksr.models.vgg import OXFORD_SCALE, VGG19Features, load_vgg19, random_vgg19, rescale_features
from masksr.models.weights import load_weights, read_weights, save_weights

__all__ = [
    "EDSR",
    "OXFORD_SCALE",
    "PESR",
    "RRDBNet",
    "SRGANDiscriminator",
    "VGG19Features",
    "VGGStyleDiscriminator",
    "load_vgg19",
    "load_weights",
    "random_vgg19",
    "read_weights",
    "rescale_features",
    "save_weights",
    "transfer_body",
]
