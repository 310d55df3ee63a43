"""No test is left out in silence: locally the run says so at its end, in CI it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PASSES = "def test_runs(): pass\n"
SKIPS = PASSES + "def test_story():\n    import pytest\n    pytest.skip('no such thing here')\n"
MODULE_SKIPS = "import pytest\npytest.importorskip('no_such_module')\ndef test_story(): pass\n"
XFAILS = PASSES + "import pytest\n@pytest.mark.xfail(reason='not yet')\ndef test_story(): assert False\n"


def run(folder: Path, code: str, *, ci: str) -> tuple[int, str]:
    (folder / "test_some.py").write_text(PASSES)
    (folder / "test_story.py").write_text(code)
    options = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "tests.conftest", str(folder)],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("code", [SKIPS, MODULE_SKIPS, XFAILS], ids=["test", "module", "xfail"])
def test_what_is_left_out_fails_in_ci(tmp_path, code):
    """A skipped or excused test makes CI's exit status say so, and the output say which."""
    status, output = run(tmp_path, code, ci="true")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "NOT RUN" in output
    assert "test_story" in output.partition("NOT RUN")[2]


@pytest.mark.parametrize("ci", ["", "false"])
def test_what_is_left_out_is_told_at_the_end_elsewhere(tmp_path, ci):
    """On somebody's own machine the run passes, and closes on what it did not prove."""
    status, output = run(tmp_path, SKIPS, ci=ci)
    assert status == pytest.ExitCode.OK
    assert "no such thing here" in output.partition("NOT RUN")[2]


def test_a_whole_run_passes_in_ci(tmp_path):
    """CI does not fail for nothing."""
    status, output = run(tmp_path, PASSES, ci="true")
    assert status == pytest.ExitCode.OK
    assert "NOT RUN" not in output
