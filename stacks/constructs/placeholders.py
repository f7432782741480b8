"""A template that no deployment accepts: its document was planned offline and holds placeholders.

CloudFormation looks at the section ``Rules`` before it makes or changes anything. What a rule holds against must be
a parameter; this one takes its default and nothing else, and the rule wants another value.
"""

from __future__ import annotations

import aws_cdk as cdk

from deployer.spec.placeholders import words

PARAMETER, RULE = "Placeholders", "NoPlaceholders"
"""Their logical names in the template."""


def refuse(stack: cdk.Stack, placeholders: tuple[str, ...]) -> None:
    """Add the rule that fails every deployment of ``stack``; nothing when there are no placeholders."""
    if not placeholders:
        return
    found = ", ".join(placeholders)
    parameter = cdk.CfnParameter(
        stack,
        PARAMETER,
        type="String",
        default=found,
        allowed_values=[found],
        description="What was not looked up: the document was planned offline",
    )
    cdk.CfnRule(
        stack,
        RULE,
        assertions=[
            cdk.CfnRuleAssertion(
                assert_=cdk.Fn.condition_equals(parameter.value_as_string, "none"),
                assert_description=(
                    f"{words(placeholders)}: plan again with credentials and without --offline"
                ),
            )
        ],
    )
