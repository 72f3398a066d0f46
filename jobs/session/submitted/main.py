"""The script of `spark-submit`: main.py SPEC RESULT. Everything it does is in `jobs.session.driver`."""

import sys
from pathlib import Path

from jobs.session.driver import drive

if __name__ == "__main__":
    sys.exit(drive(Path(sys.argv[1]), Path(sys.argv[2])))
