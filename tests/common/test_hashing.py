import hashlib

from src.common import hashing


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    assert hashing.sha256(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()
