import numpy as np

from src.common import provenance


def test_versions_are_those_of_the_packages_that_run():
    versions = provenance.versions()
    assert versions["numpy"] == np.__version__
    assert versions.keys() == {"python", *provenance.PACKAGES}
