# SPDX-License-Identifier: Apache-2.0
"""The systemd units are accepted by systemd-analyze verify, as they are installed."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from factory import TOP, build_dir

OURS = ("gatewayd", "routerd", "workerd", "billingd", "stored", "tokenfactory")


@pytest.fixture(scope="module")
def installed():
    directory = tempfile.mkdtemp(prefix="tfinst")
    subprocess.run(
        ["make", "-s", "-C", build_dir(), "install", "prefix=" + directory, "sysconfdir=%s/etc" % directory,
         "localstatedir=%s/var" % directory],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    yield directory
    shutil.rmtree(directory)


@pytest.mark.timeout(60)
def test_units(installed):
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd-analyze is needed: apt-get install systemd")
    directory = os.path.join(installed, "lib", "systemd", "system")
    units = sorted(glob.glob(directory + "/*.service") + glob.glob(directory + "/*.socket") + glob.glob(directory + "/*.target"))
    assert len(units) >= 6, units
    for unit in units:
        with open(unit) as f:
            text = f.read()
        assert "@" not in text.replace("workerd@", "").replace("@system-service", "").replace("@.service", ""), unit
        with open(unit, "w") as f:
            # the build knew another prefix than this installation
            f.write(re.sub(r"(?<==)\S*/sbin/", installed + "/sbin/", text))
    template = os.path.join(directory, "workerd@.service")
    named = [u.replace("workerd@.service", "workerd@x.service") if u == template else u for u in units]
    os.symlink(template, os.path.join(directory, "workerd@x.service"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *named], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": directory + ":"},
    )
    ours = [line for line in done.stderr.splitlines() if any(w in line for w in OURS)]
    assert done.returncode == 0 and not ours, done.stderr


def test_what_make_install_puts_where(installed):
    for path in (
        "sbin/gatewayd", "sbin/routerd", "sbin/workerd", "sbin/billingd", "sbin/stored", "bin/keyctl",
        "etc/tokenfactory/tokenfactory.conf", "lib/sysusers.d/tokenfactory.conf", "lib/tmpfiles.d/tokenfactory.conf", "share/man/man8/gatewayd.8",
        "share/man/man8/routerd.8", "share/man/man8/workerd.8", "share/man/man8/billingd.8", "share/man/man8/stored.8",
        "share/man/man1/keyctl.1",
        "share/man/man5/tokenfactory.conf.5", "share/man/man7/tokenfactory.7",
    ):
        assert os.path.exists(os.path.join(installed, path)), path


def test_example_configuration_is_valid(installed):
    for program in ("gatewayd", "routerd", "billingd", "stored"):
        done = subprocess.run(
            [os.path.join(installed, "sbin", program), "-c", os.path.join(installed, "etc/tokenfactory/tokenfactory.conf"),
             "--check-config"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr


def test_example_catalogue_is_valid(installed, tmp_path):
    """Beside the example configuration, as an operator would put it there."""
    examples = os.path.join(installed, "share/doc/tokenfactory/examples")
    (tmp_path / "conf.d").mkdir()
    shutil.copy(os.path.join(examples, "tokenfactory.conf"), tmp_path)
    shutil.copy(os.path.join(examples, "catalogue.conf"), tmp_path / "conf.d")
    for program in ("gatewayd", "routerd", "billingd", "stored"):
        done = subprocess.run(
            [os.path.join(installed, "sbin", program), "-c", str(tmp_path / "tokenfactory.conf"), "--check-config"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["gatewayd.8", "routerd.8", "workerd.8", "billingd.8", "stored.8", "keyctl.1", "tokenfactory.conf.5", "tokenfactory.7"])
def test_man_pages(page):
    if not shutil.which("mandoc"):
        pytest.fail("mandoc is needed: apt-get install mandoc")
    path = os.path.join(TOP, "man", page)
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
