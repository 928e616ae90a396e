"""What trainings read: pictures, packs, patches, exact bicubic resizing."""
