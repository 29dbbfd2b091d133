"""A judge behind a URL: it answers with P(candidate i is better than candidate j), here by the gold answer's words.

python examples/judges/server.py 8765 &
rlaif judge report examples/judges/server.yaml --labels labels.jsonl
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers one question."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read {"id", "question", "candidates", "gold_answer", "context"}, and send {"preferences": [[...], ...]}."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        gold_answers = asked["gold_answer"] or ""  # One, or a list of several of which each is right.
        gold = set(" ".join(gold_answers if isinstance(gold_answers, list) else [gold_answers]).lower().split())
        shared = [len(gold & set(candidate.lower().split())) for candidate in asked["candidates"]]
        rows = [[None if i == j else (1 + a) / (2 + a + b) for j, b in enumerate(shared)] for i, a in enumerate(shared)]
        body = json.dumps({"preferences": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
