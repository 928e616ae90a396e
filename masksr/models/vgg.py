"""VGG19 up to conv5_4, the feature extractor of the perceptual loss (equations 10-12, "VGG54")."""

from pathlib import Path

import torch
from torch import Tensor, nn

from masksr.models.build import load_state, read_weights
from masksr.models.layers import conv3x3

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions before each pooling
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1], as torchvision's VGG19 expects it
IMAGENET_STD = (0.229, 0.224, 0.225)
OXFORD_SCALE = 1 / 12.75  # for the features of Oxford's weights: Ledig et al. (SRGAN, CVPR 2017), section 3.2


class VGG19Features(nn.Module):
    """VGG19 (Simonyan and Zisserman, ICLR 2015) from the image to conv5_4, before its ReLU; frozen.

    Maps an RGB image (B, 3, H, W) in [0, 1], at least 16 pixels a side, to features (B, 512 ``width``,
    H // 16, W // 16). Gradients reach the image, never the weights. ImageNet's normalisation is included.
    Keys are torchvision's ``features.N.weight`` and ``features.N.bias``. ``width`` scales every channel
    count, to a multiple of 4.

    Make one with ``load_vgg19`` or ``random_vgg19``.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        last = _multiple_of_4(512 * width)  # determines the widths of all other layers
        layers, channels_in = [], 3
        with torch.random.fork_rng(devices=[]):  # these random weights are overwritten at once
            for channels, convolutions in STAGES:
                channels_out = _multiple_of_4(channels * last / 512)
                for _ in range(convolutions):
                    layers += [conv3x3(channels_in, channels_out), nn.ReLU(inplace=True)]
                    channels_in = channels_out
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-2])  # conv5_4 is last: neither its ReLU nor the fifth pooling
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.features((image - self.mean) / self.std)


def load_vgg19(path: str | Path) -> VGG19Features:
    """Load VGG19 with the weights of a torchvision ``.pth`` or of a ``.safetensors`` with the same keys.

    The classifier's weights are ignored; float16 becomes float32. A saved ``random_vgg19`` loads too: the
    width is read from conv5_4. Raises MasksrError where the file is missing, unreadable or has other keys.

    The loss weights of equations 10-12 suit VGG19 as trained by torchvision. Oxford's original weights give
    far larger features: an L1 distance of 13 between bicubic and HR patches, where public logs of ESRGAN show
    1 to 2; see ``rescale_features``.
    """
    of_classifier = "classifier.", "pre_logits.", "head."  # torchvision's and timm's names
    weights = {key: value for key, value in read_weights(path).items() if not key.startswith(of_classifier)}
    conv5_4 = weights.get("features.34.weight")
    width = conv5_4.shape[0] / 512 if conv5_4 is not None and conv5_4.ndim == 4 else 1.0
    network = VGG19Features(width if 0 < width <= 1 else 1.0)  # load_state reports what does not fit
    load_state(network, weights, str(path))
    return network


def rescale_features(network: VGG19Features, factor: float) -> None:
    """Multiply conv5_4's features by ``factor``, permanently: they are linear in its weights and bias."""
    last = network.features[-1]
    with torch.no_grad():
        last.weight *= factor
        last.bias *= factor


def random_vgg19(width: float, seed: int) -> VGG19Features:
    """Build a stand-in where ImageNet's weights are out of reach: VGG19's layers with seeded random weights.

    He's initialisation keeps the size of activations from layer to layer; torch's global random state is left
    alone. The features are no perceptual metric; they let the whole pipeline run.
    """
    network = VGG19Features(width)
    rng = torch.Generator().manual_seed(seed)
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
            nn.init.zeros_(layer.bias)
    return network


def _multiple_of_4(channels: float) -> int:
    return max(4, 4 * round(channels / 4))
