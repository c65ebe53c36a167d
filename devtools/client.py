"""A small client of ComfyUI's HTTP interface."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

Prompt = dict[str, dict[str, Any]]


class HostError(RuntimeError):
    """A refusal or a failure of the server, with the sentence its user reads as the message.

    node_errors:  of a refused prompt {node id: {"class_type", "errors": [{"message", ...}]}}, else {}
    node_id, node_type:  the node that raised while running, else None
    traceback:    the server's traceback as text, else ""
    interrupted:  True when the prompt was stopped through `Client.interrupt`
    """

    def __init__(
        self,
        message: str,
        *,
        node_errors: dict[str, Any] | None = None,
        node_id: str | None = None,
        node_type: str | None = None,
        traceback: str = "",
        interrupted: bool = False,
    ) -> None:
        super().__init__(message)
        self.node_errors = node_errors or {}
        self.node_id = node_id
        self.node_type = node_type
        self.traceback = traceback
        self.interrupted = interrupted


class Client:
    """Talks to a running server, for example `Client("http://127.0.0.1:8188")`."""

    def __init__(self, address: str, timeout: float = 60.0) -> None:
        self.address = address.rstrip("/")
        self.timeout = timeout

    def object_info(self, node_id: str | None = None) -> dict[str, Any]:
        """Every node's description by id, or that of one node ({} where the host has no such node)."""
        if node_id is None:
            return self.get("/object_info")
        return self.get(f"/object_info/{urllib.parse.quote(node_id)}").get(node_id, {})

    def queue(self, prompt: Prompt, extra_data: dict[str, Any] | None = None) -> str:
        """Queue an API-format prompt and return its id.

        raises:  HostError with `node_errors` when the host refuses the prompt, or would run only a part of it
        """
        body: dict[str, Any] = {"prompt": prompt, "client_id": "smooth-diffusion"}
        if extra_data:
            body["extra_data"] = extra_data
        answer = self.post("/prompt", body)
        if answer["node_errors"]:
            self.post("/queue", {"delete": [answer["prompt_id"]]})
            self.interrupt(answer["prompt_id"])
            raise HostError(
                _refusal("the host would run only a part", answer["node_errors"]), node_errors=answer["node_errors"]
            )
        return answer["prompt_id"]

    def wait(
        self, prompt_id: str, timeout: float = 300.0, waiting: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        """Wait until a queued prompt has ended and return its history entry.

        waiting: called with the seconds that have passed, some ten times a second
        returns: {"outputs": {node id: {"images": [...], ...}}, "status": {...}, "meta": {...}, ...}
        raises:  HostError with the node's own sentence when it failed or was interrupted, or after `timeout`
        """
        start = time.monotonic()
        while (passed := time.monotonic() - start) < timeout:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return _finished(history[prompt_id])
            if waiting is not None:
                waiting(passed)
            time.sleep(0.1)
        raise HostError(f"prompt {prompt_id} did not end within {timeout:g} s")

    def run(self, prompt: Prompt, timeout: float = 300.0) -> dict[str, Any]:
        """Queue a prompt, wait for it and return its outputs by node id."""
        return self.wait(self.queue(prompt), timeout)["outputs"]

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop the running prompt, or only that one."""
        self.post("/interrupt", {"prompt_id": prompt_id} if prompt_id else {})

    def free(self) -> None:
        """Ask the server to unload models and forget cached outputs, which it does between two prompts."""
        self.post("/free", {"unload_models": True, "free_memory": True})

    def view(self, file: dict[str, str]) -> bytes:
        """The bytes of an output file, given its {"filename", "subfolder", "type"} from a history entry."""
        query = {key: file[key] for key in ("filename", "subfolder", "type") if key in file}
        return self.fetch("/view?" + urllib.parse.urlencode(query))

    def get(self, path: str) -> Any:
        """The JSON answer of a GET request."""
        return json.loads(self.fetch(path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer of a POST request, {} where the server answers with nothing."""
        return json.loads(self.fetch(path, json.dumps(body).encode()) or b"{}")

    def fetch(self, path: str, body: bytes | None = None) -> bytes:
        """The raw answer of one request; POST when there is a body.

        raises:  HostError when the server answers with an error or does not answer
        """
        request = urllib.request.Request(self.address + path, data=body)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with _DIRECT.open(request, timeout=self.timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise _refused(path, error) from error
        except OSError as error:
            raise HostError(f"no answer from {self.address}{path}: {error}") from error


# The server is on this machine: a proxy set in the environment must not get between.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _refused(path: str, error: urllib.error.HTTPError) -> HostError:
    text = error.read().decode(errors="replace")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), dict):
        return HostError(f"{path} answered {error.code}: {text[:500]}")
    node_errors = answer.get("node_errors") or {}
    cause = answer["error"]
    sentence = ": ".join(part for part in (cause.get("message"), cause.get("details")) if part)
    return HostError(_refusal(sentence, node_errors), node_errors=node_errors)


def _refusal(cause: str, node_errors: dict[str, Any]) -> str:
    faults = [
        f"{entry['class_type']} ({node_id}): {fault['message']}: {fault['details']}"
        for node_id, entry in node_errors.items()
        for fault in entry["errors"]
    ]
    return "; ".join([cause.strip(), *faults])


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["status"]["status_str"] == "success":
        return entry
    messages = dict(entry["status"]["messages"])
    if "execution_interrupted" in messages:
        stopped = messages["execution_interrupted"]
        raise HostError(
            f"interrupted in {stopped['node_type']}",
            node_id=stopped["node_id"],
            node_type=stopped["node_type"],
            interrupted=True,
        )
    failed = messages.get("execution_error")
    if failed is None:
        raise HostError(f"the prompt failed without a reason: {entry['status']}")
    raise HostError(
        failed["exception_message"].strip(),
        node_id=failed["node_id"],
        node_type=failed["node_type"],
        traceback="".join(failed["traceback"]),
    )
