"""A headless Chromium for the tests: the system's own, found the way `--pdf` finds it."""

from __future__ import annotations

import os

import pytest

from exaone_nb.workbook.store import find_browser


@pytest.fixture(scope="module")  # its event loop would be in the way of later modules'
def browser():
    path = find_browser()
    if not path:
        reason = "no Chromium or Chrome: install one (Debian: apt install chromium) or set CHROMIUM"
        if os.environ.get("EXAONE_NB_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, as in containers.
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
