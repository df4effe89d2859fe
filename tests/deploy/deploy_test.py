#!/usr/bin/env python3
"""Checks what deploy/ ships: units, compose file, Dockerfile.

Exit code 77: a check could not be made here (its tool is missing).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Runs inside an interpreter that has PyYAML.
LOAD_YAML = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"


def check_units(source, binaries):
    """systemd-analyze accepts every unit, with our programs in place."""
    if not shutil.which("systemd-analyze"):
        return "systemd-analyze is not installed"
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for unit in sorted((source / "deploy/systemd").glob("edgetune-*")):
            text = unit.read_text().replace("/usr/bin/", f"{binaries}/")
            copy = pathlib.Path(folder) / unit.name
            copy.write_text(text)
            units.append(str(copy))
        assert len(units) == 5, units
        result = subprocess.run(["systemd-analyze", "verify", "--man=no", *units],
                                capture_output=True, text=True, check=False)
        ours = [line for line in result.stderr.splitlines() if "edgetune" in line]
        assert result.returncode == 0 and not ours, result.stderr
    return None


def check_compose(source):
    """The compose file has one server and four clients, built from targets."""
    python = os.environ.get("EDGETUNE_ORACLE_PYTHON")
    if not python:
        return "EDGETUNE_ORACLE_PYTHON is not set"
    folder = source / "deploy/docker"
    parsed = subprocess.run([python, "-c", LOAD_YAML], check=True, text=True,
                            input=(folder / "compose.yaml").read_text(),
                            capture_output=True)
    services = json.loads(parsed.stdout)["services"]
    assert sorted(services) == ["client-1", "client-2", "client-3", "client-4",
                                "server"]
    dockerfile = (folder / "Dockerfile").read_text()
    for name, service in services.items():
        build = service["build"]
        context = (folder / build["context"]).resolve()
        assert (context / build["dockerfile"]).is_file(), name
        assert f" AS {build['target']}\n" in dockerfile, name
    return None


def check_dockerfile_packages(source):
    """The image is built from what ./dev installs, but for tests, ccache and
    LibTorch, which it says to leave out."""
    block = re.search(r"BUILD_PACKAGES=\((.*?)\)", (source / "dev").read_text(),
                      re.S).group(1)
    wanted = set(block.split()) - {"ccache", "libgtest-dev", "libgmock-dev", "libtorch-dev",
                                   "libopenblas0-openmp"}
    text = (source / "deploy/docker/Dockerfile").read_text()
    stage = text.split(" AS runtime")[0]
    missing = [p for p in sorted(wanted) if not re.search(rf"\s{re.escape(p)}\s", stage)]
    assert not missing, f"the Dockerfile does not install {missing}"
    assert "-DEDGETUNE_TORCH=OFF" in stage


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    options = parser.parse_args()
    check_dockerfile_packages(options.source)
    skipped = [reason for reason in (check_units(options.source, options.bin.resolve()),
                                     check_compose(options.source)) if reason]
    for reason in skipped:
        print("skipped:", reason)
    return 77 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
