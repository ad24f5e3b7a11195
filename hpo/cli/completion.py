"""`hpo completion`: print a script that completes verbs and flags in a shell."""

from __future__ import annotations

import argparse

HELP = "print a completion script for your shell"

EPILOG = """\
examples:
  hpo completion bash > ~/.local/share/bash-completion/completions/hpo
  hpo completion zsh > ~/.zfunc/_hpo                  with ~/.zfunc in $fpath
  hpo completion fish > ~/.config/fish/completions/hpo.fish
"""

_SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from hpo.cli.main import build_parser

    print(shtab.complete(build_parser(None), args.shell))
    return 0
