"""`tfapp serve` itself, with its default flags."""

from __future__ import annotations

from collections.abc import Sequence

from tfapp.bench.serving.base import Server
from tfapp.bench.serving.points import MANY, MLP
from tfapp.processes import python_module

_ENTRY = 'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'


class TfappServe(Server):
    """The embedded server, started as a user starts it."""

    def command(self, workload: str) -> Sequence[str]:
        """Returns the command line."""
        config = self.files.folder / f"{workload}.config"
        config.write_text(self._config(workload), encoding="utf-8")
        return (
            *python_module("tfapp", "serve", "--server", "embedded", "--quiet"),
            f"--model_config_file={config}",
            f"--port={self.grpc_port}",
            f"--rest_api_port={self.rest_port}",
        )

    def _config(self, workload: str) -> str:
        if workload == "models":
            paths = {f"m{number}": self.files.model(MLP) for number in range(MANY)}
        else:
            paths = {path.name: path for path in sorted(self.files.model(MLP).parent.iterdir())}
        entries = [_ENTRY.format(name=name, path=path) for name, path in paths.items()]
        return "\n".join(["model_config_list {", *entries, "}"])
