"""`python -m tests.soak`: runs a soak and prints its report; exits with 1 when something went wrong."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import run


def main() -> None:
    """Parse the command line, run the soak, print one JSON object or a line per figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="good jobs (default: 2000)")
    parser.add_argument("--minutes", type=float, default=10, help="duration of the faults (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="decides kills, priorities and tenants")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", type=Path, help="keep logs and data in this new folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tryon-soak-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(folder, number=arguments.jobs, minutes=arguments.minutes, seed=arguments.seed)
    if arguments.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name}: {value}" for name, value in report.items()))
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
