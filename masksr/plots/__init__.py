"""Every picture of the report: each function takes numbers or images and returns a matplotlib Figure
that also says in words what it shows.

None of them reads a file or prints a title; the notebook that calls one says in its caption what there is to see.
"""

from masksr.plots.argument import answers_over_training, class_members, error_and_variance
from masksr.plots.compare import paired_differences
from masksr.plots.comparison import table1_dots
from masksr.plots.data import contact_sheet, degradation, equivalence_class, patch_pairs
from masksr.plots.details import CropRow, crops, figure4, figure4_maps
from masksr.plots.evidence import effects, perception_distortion
from masksr.plots.gradient import discriminator_inputs, gradient_maps, gradient_shares
from masksr.plots.inspection import mask_histograms, mask_over_range, mask_over_training, mask_readings
from masksr.plots.mask import mask_over_photograph, mask_response
from masksr.plots.picture import Picture
from masksr.plots.schematic import framework, mask_module
from masksr.plots.style import colours, use_style
from masksr.plots.sweep import figure5
from masksr.plots.training import training_curves

__all__ = [
    "CropRow",
    "Picture",
    "answers_over_training",
    "class_members",
    "colours",
    "contact_sheet",
    "crops",
    "degradation",
    "discriminator_inputs",
    "effects",
    "equivalence_class",
    "error_and_variance",
    "figure4",
    "figure4_maps",
    "figure5",
    "framework",
    "gradient_maps",
    "gradient_shares",
    "mask_histograms",
    "mask_module",
    "mask_over_photograph",
    "mask_over_range",
    "mask_over_training",
    "mask_readings",
    "mask_response",
    "paired_differences",
    "patch_pairs",
    "perception_distortion",
    "table1_dots",
    "training_curves",
    "use_style",
]
