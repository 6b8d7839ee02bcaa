import hashlib

import numpy as np

from src import provenance


def test_versions_are_those_of_the_packages_that_run():
    versions = provenance.versions()
    assert versions["numpy"] == np.__version__
    assert versions.keys() == {"python", *provenance.PACKAGES}


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    assert provenance.sha256(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()
