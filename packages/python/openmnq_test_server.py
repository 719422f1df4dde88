"""Starts an OpenMNQ server (SQS, SNS, NATS) for a test suite. Copy this file; it needs
nothing but Python 3.9 and the binary.

    import openmnq_test_server

    @pytest.fixture(scope="session")
    def mnq():
        with openmnq_test_server.Server() as server:
            yield server

    def test_orders(mnq):
        sqs = boto3.client("sqs", **mnq.boto3)
"""

import atexit
import os
import subprocess
import tempfile


class Server:
    """`mnq serve --dev --ephemeral` on free ports. url, nats_url and boto3 (arguments of
    boto3.client) are set once it is started; stop ends it and removes its data."""

    def __init__(self, binary=None, args=()):
        """binary: path of mnq; default: MNQ_BIN, or mnq in the PATH. args: further flags."""
        self._command = [
            binary or os.environ.get("MNQ_BIN", "mnq"), "serve", "--dev", "--ephemeral", "--fsync", "interval",
            "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", *args,
        ]
        self._process = self._log = None

    def start(self):
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        atexit.register(self.stop)
        found = {}
        for line in self._process.stdout:
            name, value = (line.split() + [""])[:2]
            found[name] = value
            if name == "dev":
                break
        if "dev" not in found:
            self._process.wait()
            self._log.seek(0)
            text = self._log.read()
            self.stop()
            raise RuntimeError("mnq ended before it was ready: " + text)
        self.url, self.nats_url = found["http"], found["nats"]
        self.boto3 = {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        return self

    def stop(self):
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        process.terminate()
        process.stdout.read()  # until it has ended: the pipe must not fill up
        process.stdout.close()
        process.wait()
        self._log.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
