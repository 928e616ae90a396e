"""The networks: three generators, two discriminators, VGG19's features, and their weights on disk.

Every network has the key names of its public implementation, so that public checkpoints load strictly.
"""
