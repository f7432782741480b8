"""From a specification to an EC2 fleet and back to nothing, by CloudFormation.

``facts`` reads what the account has, ``resolve`` turns a specification and facts into ResolvedFleet, ``checks``
holds the two against each other, ``cost`` prices every part, ``planner`` compares with the stack that exists.
``apply`` uploads the bundle and has the CDK CLI make the stack; ``destroy`` removes it and looks again. Tags and
the stack are the record of what is ours: another machine can go on.
"""
