# SPDX-License-Identifier: ISC
"""Fixtures: real servers (one of each kind a test process), Sallyport before them, folders."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import servers as real  # noqa: E402
from sallyport import Configuration, Direct, Sallyport  # noqa: E402
from support import DIRECT, cache_folder, run  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "proxy: is about Sallyport itself; means nothing with SALLYPORT_DIRECT=1")
    config.addinivalue_line("markers", "slow: takes more than some seconds")


def pytest_collection_modifyitems(config, items):
    if DIRECT:
        gone = [item for item in items if item.get_closest_marker("proxy")]
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=gone)
    # the long ones first, so that no process works alone at the end
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def fleet():
    """Starts each kind of real server when it is first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="sp-servers-"))
    folder.chmod(0o755)
    running = {}

    def get(name):
        if name not in running:
            try:
                running[name] = real.ALL[name](folder / name).start()
            except real.Unavailable as why:
                if os.environ.get("SALLYPORT_TEST_STRICT") == "1":
                    raise
                pytest.skip(str(why))
        return running[name]

    yield get
    for server in running.values():
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def logons():
    """The load program, built once for its source."""
    source = Path(__file__).parent / "logons.c"
    folder = cache_folder() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"logons-{source.stat().st_mtime_ns:x}"
    if not program.exists():
        made = folder / f"{program.name}.{os.getpid()}"
        done = run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-o", made, source])
        assert done.returncode == 0, done.stderr
        made.rename(program)  # several test processes may do this at once
    return program


@pytest.fixture(params=sorted(real.ALL))
def server(request, fleet):
    """Each kind of real server in turn."""
    return fleet(request.param)


@pytest.fixture
def sallyport(request):
    """Starts Sallyport before servers: sallyport(server…, policy={…}, binary=…, …); the keywords are those of
    Configuration and Sallyport. All of them are stopped at the end of the test, and must then end with 0 and without a
    sanitizer's report."""
    started = []

    def start(*servers, wait=True, **settings):
        if DIRECT:
            return Direct(servers[0])
        own = {key: settings.pop(key) for key in list(settings) if key in Sallyport.OPTIONS}
        instance = Sallyport(Configuration(servers, **settings), **own)
        started.append(instance)
        return instance.start(wait)

    yield start
    failed = request.node.stash.get(FAILED, False)
    try:
        for instance in started:
            if failed:
                show(request, instance)
            if instance.exit_code is None:
                instance.stop()
    finally:
        for instance in started:
            instance.kill()
            if not failed:
                shutil.rmtree(instance.folder, ignore_errors=True)


def show(request, instance):
    """The end of the log of a Sallyport whose test failed, into the report."""
    item = request.node
    for name, path in (("log", Path(instance.log_file or instance.out_path)), ("stderr", instance.err_path)):
        if path.is_file():
            text = path.read_text(errors="replace")
            item.add_report_section("teardown", f"sallyport {name} ({instance.folder})", text[-3000:])


FAILED = pytest.StashKey()
LIMIT = int(os.environ.get("SALLYPORT_TEST_LIMIT", "240"))  # seconds that a test may take, so that a hang is a failure


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    def too_long(*_):
        raise AssertionError(f"the test took more than {LIMIT} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.stash[FAILED] = True
