"""What people do with a trained network: enlarge, score, compare with published ones."""
