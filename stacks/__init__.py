"""CloudFormation stacks (aws-cdk-lib), from the same deployment specification."""
