import torchrl_gpu


def test_version_is_a_release_number():
    assert all(part.isdigit() for part in torchrl_gpu.__version__.split("."))
