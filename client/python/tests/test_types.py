"""What mypy sees of the package."""

import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("mypy")


def test_a_user_has_types():
    """Under --strict, where a type: ignore that hides nothing is an error."""
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", ROOT / "build" / "mypy",
         "tests/typed_user.py"],
        cwd=ROOT / "client" / "python", text=True, capture_output=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
