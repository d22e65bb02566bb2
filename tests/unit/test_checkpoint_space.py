"""A checkpoint that does not fit on the disk is not begun: the file is mapped, and a full disk would kill."""

import errno
import os
import zipfile

import pytest
from tensordict import TensorDict

from tests.unit.test_checkpoints import FAST, start, trial_of
from torchrl_gpu.runs.checkpoint import check_space

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")


def refusing(number):
    def refuse(file, offset, size):
        raise OSError(number, os.strerror(number))

    return refuse


def test_what_no_disk_takes_is_refused_without_a_trace(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device|File too large"):
        check_space(tmp_path, 2**55)
    assert list(tmp_path.iterdir()) == []
    check_space(tmp_path, 1000)


def test_a_disk_that_cannot_tell_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EINVAL))
    check_space(tmp_path, 1000)


def test_a_checkpoint_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    trainer, checkpoints, warnings = start(trial_of(), tmp_path / "run")
    assert checkpoints.save()
    trainer.timestep = 1
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC))
    monkeypatch.setattr(TensorDict, "consolidate", lambda *args: pytest.fail("it was begun"))
    assert not checkpoints.save()
    assert warnings == ["no checkpoint at timestep 1: [Errno 28] No space left on device"]
    assert [path.name for path in checkpoints.folder.iterdir()] == ["checkpoint-000000000000.torchrl"]


@pytest.mark.parametrize("keys", [{}, {"agent_type": "Rainbow"}, {"agent_type": "SAC", **FAST}])
def test_the_space_asked_for_is_what_is_written(keys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, offset, size: asked.append(size))
    trainer, checkpoints, _ = start(trial_of(**keys), tmp_path / "run")
    for _ in range(60):
        trainer._advance(tmp_path / "run")
    assert checkpoints.save()
    (path,) = checkpoints.folder.iterdir()
    with zipfile.ZipFile(path) as archive:
        (written,) = [each.file_size for each in archive.infolist() if each.filename.endswith("state.tdc")]
    (size,) = asked
    assert written <= size < 2 * written
