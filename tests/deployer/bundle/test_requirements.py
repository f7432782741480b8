"""The merged requirements.txt: one line a package, in one order, nothing that only this machine has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.bundle.requirements import merge
from deployer.errors import InputError

SERVING = ("serving", "numpy==2.1.0\nuvicorn>=0.34  # the server\n")


def test_the_union_is_sorted_and_without_comments() -> None:
    mine = ("mine", "# tokens\n\nTokenizers == 0.21\nuvicorn >= 0.34\n")
    assert merge(SERVING, mine) == "numpy==2.1.0\nTokenizers==0.21\nuvicorn>=0.34\n"


def test_line_ends_bom_and_order_do_not_count() -> None:
    assert merge(("a", "\ufeffb>=1\r\na>=1\r\n")) == merge(("a", "a>=1\nb>=1")) == "a>=1\nb>=1\n"


@given(st.permutations(["numpy==2.1.0", "a[x,y]>=1,<2", "b; python_version < '3.12'", "c~=1.0"]))
def test_any_order_gives_the_same_text(lines: list[str]) -> None:
    assert merge(("x", "\n".join(lines))) == merge(("x", "\n".join(sorted(lines))))


def test_hashes_stay_with_their_package() -> None:
    text = "b==1 \\\n    --hash=sha256:22 \\\n    --hash=sha256:11\n"
    assert merge(("locked", text)) == "b==1 --hash=sha256:11 --hash=sha256:22\n"


def test_where_pip_looks_comes_first() -> None:
    text = "torch==2.1\n--extra-index-url https://example.org/cpu\n"
    assert merge(("x", text)).splitlines()[0] == "--extra-index-url https://example.org/cpu"


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "-c constraints.txt",
        "-e .",
        "./wheel.whl",
        "/home/me/wheel.whl",
        "mine @ file:///home/me/wheel.whl",
        "--index-url http://example.org/simple",
        "--find-links /home/me",
        "numpy==",
        "numpy 2.1",
        "; rm -rf /",
    ],
)
def test_a_line_that_the_image_could_not_follow_is_refused(line: str) -> None:
    with pytest.raises(InputError) as caught:
        merge(SERVING, ("mine.txt", f"scipy\n{line}\n"))
    assert str(caught.value) == f"mine.txt: cannot be installed inside the image: {line!r}"


def test_two_pins_of_one_package_are_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"'2\.1\.0' in serving and to '2\.0\.0' in mine"):
        merge(SERVING, ("mine", "NumPy==2.0.0"))


def test_pins_for_different_platforms_may_differ() -> None:
    mine = "numpy==2.0.0; platform_machine == 'aarch64'"
    assert "numpy==2.0.0" in merge(SERVING, ("mine", mine))
