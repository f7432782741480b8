"""From a specification to SageMaker endpoints and back to nothing, by calls of the AWS API.

``facts`` reads what the account has, ``resolve`` turns a specification and facts into Resolved, ``checks`` holds
the two against each other, ``observe`` looks at what exists under the name, ``planner`` compares and returns a
SageMakerPlan (``plan``): data that is shown. ``executor`` runs one; each of its steps first looks whether it is
done, so that a run which was cut off anywhere is finished by the next one. AWS's own tags are the record of
what is ours: only what carries ``deployer:name`` is changed or removed, and another machine can do it.
"""
