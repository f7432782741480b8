"""The supervisor's process."""

import sys

from deployer.deployments.local.balanced import supervisor

if __name__ == "__main__":
    sys.exit(supervisor.main(sys.argv[1:]))
