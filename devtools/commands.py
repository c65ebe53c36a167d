"""The commands `install.py host`, `demo` and `test`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .archives import ARCHIVES, NEWEST
from .client import HostError
from .host import make_host
from .layout import HOST
from .report import Failure, say


def main(arguments: list[str]) -> int:
    """Run one command; its exit code, with what went wrong in one line."""
    try:
        chosen, further = _parser().parse_known_args(arguments)
        if further and chosen.command != "test":
            raise Failure(f"`install.py {chosen.command}` does not know {' '.join(further)}")
        return _COMMANDS[chosen.command](chosen, further)
    except (Failure, HostError) as error:
        print(f"error: {_one_line(str(error))}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command takes up where it was", file=sys.stderr, flush=True)
        return 130


def _one_line(message: str) -> str:
    first, *further = message.splitlines()
    if not further:
        return first
    details = HOST / "error.log"
    details.write_text(message + "\n", encoding="utf-8")
    return f"{first} (all of it: {details})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="install.py", description="Smooth Diffusion: host, demo and tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    host = commands.add_parser("host", help="make .host/, a real ComfyUI with this pack")
    host.add_argument("--fresh", action="store_true", help="throw the old .host away first")
    demo = commands.add_parser("demo", help="render the example walks into demo-out/, with their scores")
    demo.add_argument("--serve", action="store_true", help="leave the ComfyUI page open instead")
    demo.add_argument("--port", type=int, default=8188, help="port of the page that --serve leaves open")
    test = commands.add_parser("test", help="run the tests; further arguments go to pytest")
    tier = test.add_mutually_exclusive_group()
    tier.add_argument(
        "--fast",
        dest="tier",
        action="store_const",
        const="fast",
        default="usual",
        help="unit tests and a few of the host's, in minutes",
    )
    tier.add_argument("--all", dest="tier", action="store_const", const="all", help="what takes hours, too")
    test.add_argument("--no-web", action="store_true", help="leave the page tests out")
    test.add_argument(
        "--hosts",
        default="",
        metavar="VERSIONS",
        help=f"also run the host's tests against these, of {', '.join(ARCHIVES)}; or all",
    )
    for command in (host, demo, test):
        command.add_argument(
            "--from", dest="comfy", type=Path, metavar="PATH", help="use this ComfyUI folder instead of the pinned one"
        )
    return parser


def _host(chosen: argparse.Namespace, _: list[str]) -> int:
    make_host(chosen.comfy, fresh=chosen.fresh)
    say("the host is ready in .host/")
    return 0


def _demo(chosen: argparse.Namespace, _: list[str]) -> int:
    from .demo import run_demo, serve

    make_host(chosen.comfy)
    return serve(chosen.port) if chosen.serve else run_demo()


def _test(chosen: argparse.Namespace, further: list[str]) -> int:
    from .testing import run_tests

    make_host(chosen.comfy)
    return run_tests(further, tier=chosen.tier, web=not chosen.no_web, hosts=_others(chosen.hosts))


def _others(hosts: str) -> list[str]:
    """Versions beside the newest, which is always tested."""
    wanted = list(ARCHIVES) if hosts == "all" else [version.strip() for version in hosts.split(",") if version.strip()]
    return [version for version in wanted if version != NEWEST]


_COMMANDS = {"host": _host, "demo": _demo, "test": _test}
