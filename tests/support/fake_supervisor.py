"""Something at a control socket that answers as a supervisor does, and remembers what it was asked to change."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

STATUS = {"state": "running", "supervisor": {"pid": 1, "generation": 1}, "children": []}


class FakeSupervisor:
    """Listens until closed; `asked` holds every request that was not for its status."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.asked: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as stream:
                request = json.loads(stream.readline())
                if request["do"] == "status":
                    stream.write(json.dumps({"done": True, "exit_code": 0, "status": STATUS}).encode() + b"\n")
                    continue
                self.asked.append(request)
                stream.write(json.dumps({"line": "~ [worker] count: 1 -> 3"}).encode() + b"\n")
                stream.write(json.dumps({"done": True, "exit_code": 0, "generation": 2}).encode() + b"\n")
