# SPDX-License-Identifier: ISC
"""The quickstart does what it says."""

import os

import pytest
from sallyport import REPOSITORY, find_release_binary
from support import run

pytestmark = [pytest.mark.proxy, pytest.mark.slow]


def test_quickstart_shows_a_logon_a_listing_a_download_and_an_upload():
    done = run(
        ["sh", REPOSITORY / "deploy" / "quickstart.sh", "--once"],
        env=os.environ | {"SALLYPORT_BIN": str(find_release_binary())},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("logon", "listing", "download", "upload"):
        assert f"ok: {step}" in done.stdout, done.stdout
    assert "ftp://" in done.stdout
