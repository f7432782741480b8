"""The group: quick, lazy, one form of error, one set of exit codes."""

from __future__ import annotations

import re
import resource
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from deployer import errors
from deployer.cli import main as cli_main
from deployer.cli.main import VERBS, cli
from deployer.cli.options import Verb


def run(*words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="deployer", env=env)


def process(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployer", *words]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


def test_help_is_quick() -> None:
    def cpu_s() -> float:  # which other work on the machine does not stretch, as it does the clock
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    taken = []
    for _ in range(5):
        before = cpu_s()
        assert process("--help").returncode == 0
        taken.append(cpu_s() - before)
    assert min(taken) < 0.3


@pytest.mark.parametrize("statement", ["import deployer", "deployer.cli.main.cli(['--help'])"])
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    heavy = ("torch", "boto3", "onnxruntime", "onnx", "aws_cdk", "numba", "numpy", "matplotlib")
    code = (
        "import sys, deployer, atexit\n"
        f"atexit.register(lambda: print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr))\n"
        f"import deployer.cli.main\n{statement}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_no_verb_and_help_say_the_same() -> None:
    assert run().stdout == run("--help").stdout == run("help").stdout
    assert run().exit_code == 0
    assert all(f"  {name}" in run().stdout for name in VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_with_examples_first(name: str) -> None:
    done = run(name, "--help")
    assert done.exit_code == 0
    assert VERBS[name][1] in done.stdout
    head, _, options = done.stdout.partition("Options:")
    examples = re.findall(r"^  (deployer .*)$", head.partition("Examples:")[2], re.MULTILINE)
    assert len(examples) >= 3
    assert all(f"deployer {name}" in example for example in examples)
    assert all(flag in options for flag in ("--json", "--quiet", "--debug"))
    assert run("help", name).stdout == done.stdout


@pytest.mark.parametrize("name", VERBS)
def test_the_examples_use_options_that_exist(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, Verb)
    known = {flag for parameter in command.params for flag in parameter.opts}
    for example in command.examples:
        ours = example.partition("|")[0].partition("    #")[0]
        assert {word for word in ours.split() if word.startswith("-")} <= known


def test_exit_codes_are_explained() -> None:
    words = run("help", "exit-codes").stdout
    assert [line.split()[0] for line in words.splitlines()[1:]] == ["0", "1", "2", "3", "130"]
    assert words in run("--help").stdout


@pytest.mark.parametrize(
    ("typed", "meant"), [("complare", "compare"), ("simulat", "simulate"), ("undeploy", "deploy")]
)
def test_a_misspelt_verb_gets_the_near_one(typed: str, meant: str) -> None:
    done = run(typed)
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: there is no command {typed!r}\nhint: did you mean `deployer {meant}`?\n"
    )


def test_a_misspelt_option_gets_the_near_one() -> None:
    done = run("prices", "--regoin", "x")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: No such option")
    assert "--region" in done.stderr


EXPECTED = {
    errors.DeployerError("m", hint="h"): 2,
    errors.InputError("m", hint="h"): 2,
    errors.SpecError("key", "m", hint="h"): 2,
    errors.RuleBroken("key", "m", code="a-rule", hint="h"): 1,
    errors.EnvironmentProblem("m", hint="h"): 2,
    errors.Unreachable("m", hint="h"): 2,
    errors.UnknownPrice("m", hint="h"): 2,
    errors.NotSupported("m", hint="h"): 2,
    errors.AwsRefusal("m", code="AccessDenied", hint="h"): 2,
    errors.ConditionFailed("m", hint="h"): 1,
    errors.PartialFailure("m", remaining=["this", "that"], hint="h"): 3,
    errors.Interrupted("m", hint="h"): 130,
}


def test_every_error_of_the_tree_is_expected_here() -> None:
    def family(kind: type[BaseException]) -> set[type[BaseException]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    ours = {kind for kind in family(errors.DeployerError) if kind.__module__ == errors.__name__}
    assert ours == {type(error) for error in EXPECTED}


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_an_error_becomes_its_code_and_one_form(
    error: errors.DeployerError, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli_main.report(error) == EXPECTED[error]
    told = capsys.readouterr()
    assert told.out == ""
    first, *left, last = told.err.splitlines()
    assert first == f"error: {error.message}"
    assert last == "hint: h"
    assert left == [f"left: {item}" for item in getattr(error, "remaining", ())]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "x"), ValueError("bug"), click.Abort()]
)
def test_what_is_not_ours_is_one_line_too(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli_main.report(error) in (2, 130)
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "Traceback" not in told


def test_a_traceback_only_comes_with_debug() -> None:
    assert "Traceback" not in run("status", "nobody").stderr
    assert "Traceback" in run("status", "nobody", "--debug").stderr
    assert "Traceback" in run("--debug", "status", "nobody").stderr


def test_colour_is_never_sent_into_a_pipe_unless_forced() -> None:
    assert "\x1b[" not in run("status", "nobody").stderr
    assert "\x1b[31m" in run("status", "nobody", env={"FORCE_COLOR": "1"}).stderr
    both = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    assert "\x1b[" not in run("status", "nobody", env=both).stderr


def test_an_ascii_terminal_is_served_without_marks() -> None:
    done = process("doctor", env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "ok python: " in done.stdout


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    command = f"{sys.executable} -m deployer prices | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("service")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_ctrl_c_is_130() -> None:
    @click.command("stop")
    def stop() -> None:
        raise KeyboardInterrupt

    class WithStop(cli_main.Deployer):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return stop

    done = CliRunner().invoke(WithStop("deployer"), ["serve"])
    assert done.exit_code == 130
    assert done.stderr.strip() == "error: interrupted"
