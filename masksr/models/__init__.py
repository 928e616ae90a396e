"""The networks: three generators, two discriminators, VGG19's features, and their weights on disk.

Every network reads and writes the key names of its public implementation, so that public checkpoints load strictly.
"""

from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR, transfer_body
from masksr.models.rrdb import RRDBNet
from masksr.models.vgg import VGG19Features, load_vgg19, random_vgg19
from masksr.models.weights import load_weights, read_weights, save_weights

__all__ = [
    "EDSR",
    "PESR",
    "RRDBNet",
    "SRGANDiscriminator",
    "VGG19Features",
    "VGGStyleDiscriminator",
    "load_vgg19",
    "load_weights",
    "random_vgg19",
    "read_weights",
    "save_weights",
    "transfer_body",
]
