"""The real ComfyUI server, started headless for tests, the demo and benchmarks.

    with Server() as server:
        outputs = server.client.run({"1": {"class_type": "...", "inputs": {...}}, ...})

Each server has a base folder of its own (input, output, temp, user, ...), thrown away with it, and ends only
the process that it started.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .client import Client, HostError
from .layout import COMFY, DEMO_MODELS, PACK, PACK_NAME, SHARE_CORES, link_folder, page_folder, remove_link, venv_python

__all__ = ["Client", "HostError", "Server"]

MODEL_FOLDERS = ("checkpoints", "loras", "vae", "controlnet", "embeddings")
# Any of these in the log means that the pack, or a part of it, is not there, though the server runs on.
IMPORT_FAULTS = (
    "IMPORT FAILED",
    "Cannot import",
    "Error while calling comfy_entrypoint",
    "did not return a",
    "due to the lack of NODE_CLASS_MAPPINGS",
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Server:
    """A headless ComfyUI with this pack (and nothing else) loaded.

    args:    further options of main.py, for example ["--cache-classic"] or ["--preview-method", "latent2rgb"]
    models:  folders that hold `checkpoints`, `loras`, ...; the demo checkpoint's folder where it exists
    packs:   custom node folders to load under their own names, instead of this pack
    base:    a base folder to use and keep, instead of one that is thrown away
    cpu:     False lets the host choose its device
    timeout: seconds until the server must be ready
    port:    0 takes a free one

    Once started: `address`, `port`, `client`, and the folders `base`, `input`, `output`.
    """

    def __init__(
        self,
        args: Sequence[str] = (),
        *,
        models: Sequence[Path] = (DEMO_MODELS,),
        packs: Sequence[Path] | None = None,
        base: Path | None = None,
        cpu: bool = True,
        timeout: float = 300.0,
        port: int = 0,
        comfy: Path = COMFY,
        python: Path | None = None,
    ) -> None:
        self.args = list(args)
        self.models = [Path(folder) for folder in models]
        self.packs = {PACK_NAME: PACK} if packs is None else {Path(p).name: Path(p) for p in packs}
        self.cpu = cpu
        self.timeout = timeout
        self.comfy = Path(comfy)
        self.python = python or venv_python()
        self._keep = base is not None
        self.base = Path(base) if base is not None else Path()
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Client:
        return Client(self.address)

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def pid(self) -> int:
        """The process id of the running server, for memory measurements."""
        if self._process is None:
            raise HostError("the server is not running")
        return self._process.pid

    def log(self) -> str:
        """Everything the server has written so far, without its colours."""
        path = self.base / "server.log"
        return COLOURS.sub("", path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ""

    def start(self) -> Server:
        """Start the server and return when it answers and the packs have loaded.

        raises:  HostError when the host is not installed, does not start, or could not load a pack
        """
        if not (self.comfy / "main.py").is_file() or not self.python.is_file():
            raise HostError(f"no ComfyUI at {self.comfy}: run `python install.py host` first")
        self._prepare_base()
        self.port = _free_port(self.port)
        log = (self.base / "server.log").open("wb")
        try:
            # No prompt may wait for a terminal, and nothing the server prints may reach the caller's output.
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.comfy,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )
        finally:
            log.close()
        try:
            self._wait_until_ready()
            self._require_packs()
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self) -> None:
        """Wait until the server's process ends by itself."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End the server's process and remove its base folder; harmless when it is not running."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not self._keep and self.base != Path():
            for name in self.packs:
                _unlink(self.base / "custom_nodes" / name)
            shutil.rmtree(self.base, ignore_errors=True)

    def _prepare_base(self) -> None:
        if not self._keep:
            self.base = Path(tempfile.mkdtemp(prefix="smooth-host-"))
        models = [f"models/{kind}" for kind in MODEL_FOLDERS]
        for name in ("custom_nodes", "input", "output", "temp", "user", *models):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for name, folder in self.packs.items():
            link_folder(self.base / "custom_nodes" / name, folder)
        lines = []
        for number, folder in enumerate(self.models):
            lines.append(f"models{number}:\n  base_path: '{folder.resolve().as_posix()}'")
            lines += [f"  {kind}: {kind}" for kind in MODEL_FOLDERS]
        (self.base / "models.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _command(self) -> list[str]:
        command = [
            str(self.python),
            "main.py",
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--base-directory",
            str(self.base),
            "--database-url",
            "sqlite:///:memory:",
            "--extra-model-paths-config",
            str(self.base / "models.yaml"),
            "--disable-auto-launch",
            "--disable-api-nodes",
            "--disable-all-custom-nodes",
        ]
        if self.packs:
            command += ["--whitelist-custom-nodes", *self.packs]
        page = page_folder(self.comfy) / "comfyui_frontend_package" / "static"
        if page.is_dir():
            command += ["--front-end-root", str(page)]
        return command + (["--cpu"] if self.cpu else []) + self.args

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.timeout
        client = Client(self.address, timeout=5)
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise self._not_started("ComfyUI ended while starting")
            try:
                client.get("/queue")
                return
            except HostError:
                time.sleep(0.1)
        raise self._not_started(f"ComfyUI was not ready within {self.timeout:g} s")

    def _not_started(self, what: str) -> HostError:
        lines = [line for line in self.log()[-3000:].splitlines() if line.strip()]
        return HostError("\n".join([f"{what}: {lines[-1] if lines else 'it wrote nothing'}", *lines[:-1]]))

    def _require_packs(self) -> None:
        log = self.log()
        paths = [str(self.base / "custom_nodes" / name) for name in self.packs]
        faults = [
            line
            for line in log.splitlines()
            if any(fault in line for fault in IMPORT_FAULTS) and any(path in line for path in paths)
        ]
        if faults:
            start = log.rfind("Traceback (most recent call last)", 0, log.find(faults[0]) + 1)
            trace = log[start : log.find(faults[0])] if start >= 0 else ""
            raise HostError("\n".join([f"the pack did not load: {faults[0]}", *faults[1:], trace]), traceback=trace)


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one for 0. A taken one must not pass: its owner would answer in our place."""
    with socket.socket() as probe:
        if os.name != "nt":  # a port of which only the last connections linger is free, as the host sees it too
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise HostError(f"port {wanted} is taken: choose another one") from error
        return probe.getsockname()[1]


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    environment.update(PYTHONUNBUFFERED="1", PYTHONUTF8="1", HF_HUB_OFFLINE="1")
    environment.update(SHARE_CORES)
    return environment


def _unlink(link: Path) -> None:
    if link.exists() or link.is_symlink():
        remove_link(link)
