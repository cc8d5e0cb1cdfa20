from __future__ import annotations

import subprocess
import sys

import pytest

from batchot.errors import MissingExtraError, require


def test_says_how_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_module.*pip install 'batchot\[shapes\]'"):
        require("no_such_module")


def test_reading_text_needs_no_extra_and_no_torch() -> None:
    code = (
        "import sys\n"
        "from batchot.shapes import read_shape\n"
        "read_shape(b'OFF3 1 0\\n0 0 0\\n2 0 0\\n0 2 0\\n3 0 1 2', '.off', 'x')\n"
        "assert not {'torch', 'trimesh', 'h5py'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
