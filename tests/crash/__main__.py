"""`./run crash [N] [NAME]`: every point and every race, N times, and a table of what came of it.

Without N each point is played once, as it always comes out the same, and each race 50 times. NAME is the beginning of
the names to play. Programs that are started from here import this module: it imports nothing of `jobs` by itself.
"""

import sys

if __name__ == "__main__":
    from tests.crash.table import main

    sys.exit(main(sys.argv[1:]))
