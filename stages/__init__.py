"""The stages of the pipeline.

NumPy computes exp, log and powers in AVX-512 with other last bits than elsewhere, which moves a pixel of a drawn
photograph in ten by one grey level. A stage does without, so that the same data come of every processor with AVX2.
"""

import os

from src import interruption as interruption  # first of all: it looks who started this process

os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL AVX512_SPR")  # read when NumPy is imported
