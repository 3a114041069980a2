"""docs/api.md has the fields that the server reads."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve().parent


def test_fields_are_up_to_date():
    r = subprocess.run([sys.executable, ROOT / 'tools/update_api_docs.py', '--check', BUILD / 'tools/api_fields',
                        ROOT / 'docs/api.md'], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
