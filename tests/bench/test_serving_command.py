"""`tfapp bench serving` with real servers."""

from __future__ import annotations

import json
import re
import textwrap

import pytest

from tfapp.bench.serving.points import POINTS
from tfapp.bench.serving.roster import ROSTER
from tfapp.errors import ExitCode


def test_real_servers_are_asked(cli, tmp_path):
    team = ("tfapp", "fastapi", "grpc-echo", "numpy")
    words = [word for name in team for word in ("--contender", name)]
    workloads = [word for name in ("rest", "grpc", "calls") for word in ("--workload", name)]
    done = cli("bench", "serving", *words, *workloads, "--rounds=1", "--seconds=0.2", "--json")
    assert done.code == ExitCode.DONE, done.err
    found = json.loads(done.out)
    assert found["schema_version"] == 1
    assert [point["point"] for point in found["points"]] == [
        point.name for point in POINTS if point.workload in ("rest", "grpc", "calls")
    ]
    for point in found["points"]:
        for row in point["rows"]:
            if row["contender"] == "fastapi" and ROSTER["fastapi"].missing:
                assert row["detail"] == "not installed: pip install 'tfapp[bench]'"
                continue
            assert row["status"] in ("ok", "limit"), row
            assert row["per_second"]["median"] > 10
            assert 0 < row["p50_ms"] <= row["p99_ms"]
            if point["workload"] != "calls":
                assert row["server_us"] > 0
                assert row["started"]["memory_mb"] > 10
    assert "share of grpc-echo" in [verdict["target"] for verdict in found["targets"]]
    assert "rest-32 round 1/1" in done.err
    assert list(tmp_path.iterdir()) == []


OWN = """
    import json
    import sys

    from tfapp.bench.serving.base import Server


    class Mine(Server):
        def command(self, workload):
            answer = self.files.answer("row.json").tolist()
            return sys.executable, "small.py", str(self.rest_port), json.dumps(answer)


    class Wrong(Mine):
        def path(self, model):
            return "/wrong"


    class Absent(Server):
        def command(self, workload):
            return sys.executable, "-c", "raise SystemExit('out of luck')"
"""
SMALL = """
    import json
    import sys
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.loads(sys.argv[2])
            if self.path == "/wrong":
                answer[0][0] += 0.001
            body = json.dumps({"predictions": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_of_ones_own_is_asked_and_checked(cli, tmp_path):
    for name, text in (("own", OWN), ("small", SMALL)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    words = [x for name in ("Mine", "Wrong", "Absent") for x in ("--contender", f"own:{name}")]
    done = cli("bench", "serving", "--workload=rest", *words, "--rounds=1", "--seconds=0.1")
    assert done.code == ExitCode.DONE, done.err
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    rows = [line for line in lines if re.match(r"\d+ connections? own:", line)]
    mine, wrong, absent = (rows[start::3] for start in range(3))
    assert len(mine) == len(wrong) == len(absent) == 3, done.out
    assert all("own:Mine" in line and "failed" not in line for line in mine)
    assert all("failed: WrongAnswer: an answer of shape (1, 10) begins" in x for x in wrong)
    assert all("its server ended with exit code 1: out of luck" in line for line in absent)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--contender", "fastpi"), "no contender named 'fastpi'. Did you mean 'fastapi'"),
        (("--workload", "rset"), "no workload named 'rset'. Did you mean 'rest'"),
        (("--workload", "calls", "--contender", "fastapi"), "fastapi cannot do calls. These can"),
        (("--rounds", "0"), "0 is not in the range x>=1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_answered_at_once(cli, words, said):
    result = cli("bench", "serving", *words)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert said in result.err
    assert "started" not in result.err
