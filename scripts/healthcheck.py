"""Ask the server on this machine whether it is healthy; the exit status says it. For Docker's health check."""

import os
import sys
from http.client import HTTPException
from urllib.request import urlopen

TIMEOUT_S = 4


def main() -> None:
    port = os.environ.get("PORT", "8000")
    try:
        # The address is our own, and any status but 2xx raises.
        urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_S).close()
    except (OSError, HTTPException) as error:
        sys.exit(f"unhealthy: {error}")


if __name__ == "__main__":
    main()
