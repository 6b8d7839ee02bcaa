"""Reference scale of all lengths: pixels of a field of view (FOV) as wide as that of DRIVE."""

REFERENCE_FOV_DIAMETER = 540  # pixels
