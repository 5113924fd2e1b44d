"""Takes sinsok's webhook messages, and believes only those that are signed and new. Standard library only.

    SINSOK_WEBHOOK_SECRET=... python verify_webhook.py 8443

Put it behind a server that speaks TLS. Prints each message once.
"""

import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE_S = 300
"""Older than this is a replay, or a clock is wrong."""
LONGEST = 1 << 20
seen: set[str] = set()  # in production a table with a unique column


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether who knows the secret sent these very bytes, within the last minutes."""
    timestamp, signature = headers.get("Sinsok-Timestamp", ""), headers.get("Sinsok-Signature", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    expected = hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()
    return hmac.compare_digest(f"v1={expected}".encode(), signature.encode())


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it has, 401 to what it does not believe."""

    secret = os.environ.get("SINSOK_WEBHOOK_SECRET", "")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(min(length, LONGEST))
        genuine = is_genuine(self.secret, dict(self.headers), body, time.time())
        if genuine:
            message = json.loads(body)
            # Sent at least once: after a crash or a lost answer the same key comes again.
            if message["key"] not in seen:
                seen.add(message["key"])
                print(message["text"], flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()


if __name__ == "__main__":
    if not Receiver.secret:
        sys.exit("set SINSOK_WEBHOOK_SECRET to the recipient's secret")
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
