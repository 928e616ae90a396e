"""masksr: an image mask that helps the adversarial training of super-resolution models, reproduced.

Jiang et al., "Optimising GAN-based image super-resolution models with an image mask", Journal of Chongqing
University 46(5), 2023, doi 10.11835/j.issn.1000-582X.2023.05.010.

This module imports nothing, so that importing one part never pays for another.
"""

__version__ = "0.2.0"
