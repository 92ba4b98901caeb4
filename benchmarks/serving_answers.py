"""Asks 24,000 requests of several models at once and checks every answer.

    python benchmarks/serving_answers.py --requests 24000 --flag=--enable_batching

No two requests have the same input, and each model has a function of its own, so that an answer
that belongs to another request cannot be right. Exit code 0: every answer is right.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from serving_clients import Asking, clients_of
from serving_load import Report, Server, folder, models_config, parser, write_version

FACTORS = {"double": 2.0, "triple": 3.0, "minus": -1.0}


def check_answers(
    server: Server, factors: Mapping[str, float], requests: int, clients: int, report: Report
) -> None:
    """Asks version 1 of each model, with as many clients each."""
    each = -(-requests // (clients * len(factors)))
    asking = [
        Asking(client, seed=1000 * index + number, factor=factor, limit=each)
        for index, (model, factor) in enumerate(factors.items())
        for number, client in enumerate(clients_of(server, model, clients))
    ]
    started = time.monotonic()
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(3600)
    seconds = time.monotonic() - started
    answered = sum(thread.answered for thread in asking)
    wrong = [text for thread in asking for text in thread.wrong]
    report.tell(
        f"{answered} answers of {len(factors)} models to {len(asking)} clients in {seconds:.0f} s:"
        f" {answered / seconds:.0f} a second, checked"
    )
    report.require(not wrong, f"every answer is right: {len(wrong)} are not")
    for text in wrong[:5]:
        report.tell(f"       {text}")
    report.require(answered >= requests, f"all {requests} requests were answered: {answered}")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, requests=24_000, clients=6).parse_args()
    report = Report()
    with folder() as made:
        for name, factor in FACTORS.items():
            (made / name).mkdir()
            write_version(made / name, 1, factor=factor)
        with Server(made, (models_config(made, *FACTORS), *arguments.flag)) as server:
            check_answers(server, FACTORS, arguments.requests, arguments.clients, report)
            report.require("Traceback" not in server.log(), "no traceback in the log")
    report.end()


if __name__ == "__main__":
    main()
