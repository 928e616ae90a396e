"""The paper's argument, equations 2 to 7, checked: the classes of HR images that share one LR image, and their mean."""
