"""What ONNX Runtime says, without what only its authors can read. Standard library only."""

from __future__ import annotations

import re

#: What ONNX Runtime says before and around the words that are about the model and its input.
_INTERNALS = (
    (r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r"Load model from .*? failed: ?", ""),
    (
        r"Non-zero status code returned while running (\w+) node\. Name:'.*?' Status Message: ",
        r"\1: ",
    ),
    # A place in its source, and the condition that did not hold, the function with its arguments, or its bare name.
    (
        r"(?:/\S+|\w+\.(?:h|cc)):\d+ (?:.*? was false\. ?|(?:\S+ ){0,4}?\S+\([^()]*\)(?: const)?"
        r"(?:::<lambda\(\)>)?(?: \[with [^]]*\])? |\w+ )",
        "",
    ),
    (r"Please fix either the inputs/outputs or the model\.", ""),
    (r"\s+", " "),
)


def cleaned(text: str) -> str:
    """Return a message of ONNX Runtime without its codes, paths, functions and conditions.

    >>> cleaned("[ONNXRuntimeError] : 1 : FAIL : matmul_helper.h:59 Compute MatMul dimension mismatch")
    'MatMul dimension mismatch'
    """
    for pattern, instead in _INTERNALS:
        text = re.sub(pattern, instead, text)
    return text.strip() or "it does not say why"
