"""Shell completion: a script for each shell, and the verbs and options it offers."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import CORRAL, Cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(cli: Cli, shell: str) -> None:
    script = cli.ok(_CORRAL_COMPLETE=f"source_{shell}")
    assert "corral" in script
    assert f"complete_{shell}" in script


def test_the_bash_script_is_valid_and_completes(cli: Cli) -> None:
    script = cli.ok(_CORRAL_COMPLETE="source_bash")
    asked = f'{script}\nCOMP_WORDS=(corral cre) COMP_CWORD=1\n_corral_completion corral cre corral\necho "${{COMPREPLY[@]}}"'
    environment = cli.environment | {"PATH": f"{CORRAL.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", asked], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["create"]


def complete(cli: Cli, words: str, position: int) -> list[str]:
    return cli.ok(_CORRAL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(position)).split()


def test_verbs_and_options_are_offered(cli: Cli) -> None:
    assert complete(cli, "corral p", 1) == ["pull", "push", "ps", "parse"]
    assert set(complete(cli, "corral show --mo", 2)) == {"--modelfile"}
