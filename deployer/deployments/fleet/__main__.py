"""The supervisor's process."""

import sys

from deployer.deployments.fleet import supervisor

if __name__ == "__main__":
    sys.exit(supervisor.main(sys.argv[1:]))
