"""Reference scale of all lengths: a field of view (FOV) like that of DRIVE."""

REFERENCE_FOV_DIAMETER = 540  # pixels
REFERENCE_FIELD_ANGLE = 45  # degrees
