"""Stages of the pipeline.

Importing a stage turns off NumPy's AVX-512 code. It computes exp, log and powers with other last bits, which changes
one pixel in ten of a synthetic image by one level. So the same data come from every processor with AVX2.
"""

import os

from src.common import signals  # noqa: F401 - first of all: it reads which process started this one

os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL AVX512_SPR")  # read when NumPy is imported
