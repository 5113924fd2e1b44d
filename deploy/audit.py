"""Known vulnerabilities in what is locked: asks the advisories of the Python Package Index about every version.

`make audit`. A package about which nobody could be asked is no good news, and not a reason to stop tests on a machine
without a way to the index: it is said. A known vulnerability ends with 1.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = sorted((Path(__file__).parents[1] / "requirements").glob("*.txt"), key=lambda lock: lock.stat().st_size)
"""The smallest first: where nobody answers, that is known soon."""


def audited(lock: Path) -> list[dict[str, Any]]:
    """What is known of each package of a lock, as pip-audit says it."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"audit: {lock.name}: nobody could be asked: {last}")
        return []


def main() -> int:
    """Ask about all locks."""
    known = 0
    for lock in LOCKS:
        packages = audited(lock)
        for package in packages:
            for found in package.get("vulns", ()):
                known += 1
                fixed = ", ".join(found["fix_versions"]) or "nothing yet"
                print(f"audit: {lock.name}: {package['name']} {package['version']}: {found['id']}, mended in {fixed}")
        unasked = [package["name"] for package in packages if "skip_reason" in package]
        if len(unasked) == len(packages):
            print("audit: the index here knows no advisories: nothing was checked")
            return 1 if known else 0
        if unasked:
            print(f"audit: {lock.name}: not checked: {', '.join(unasked)}")
    print(f"audit: {known} known vulnerabilities in {len(LOCKS)} locks")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
