"""CloudFormation stacks (aws-cdk-lib), from the same deployment specification.

``deployer plan deployment.toml --resolved resolved.json`` decides everything; ``cdk deploy`` makes it. The two
meet in that document: the stacks read it and nothing else, and a stack can be synthesized by hand.
"""

CDK_CLI = "aws-cdk@2.1148.1"
"""The CDK CLI that is tested with the library: ``npx aws-cdk@2.1148.1 deploy``. A newest one may not fit."""
