"""Receives the messages of a topic over HTTP and believes only what the server has signed.
The signature is checked with the certificate that the server publishes."""

import base64
import http.server
import json
import os
import queue
import threading
import urllib.request

import boto3
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

SERVER = os.environ["AWS_ENDPOINT_URL"].rstrip("/") + "/"
received = queue.Queue()


def get(url):
    if not url.startswith(SERVER):
        raise ValueError(url + " is not on the server")
    with urllib.request.urlopen(url) as r:
        return r.read()


def verify(m):
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    if m["Type"] == "Notification":
        names = [n for n in names if n not in ("SubscribeURL", "Token")]
    text = "".join(f"{n}\n{m[n]}\n" for n in names if n in m)
    certificate = x509.load_pem_x509_certificate(get(m["SigningCertURL"]))
    algorithm = hashes.SHA256() if m["SignatureVersion"] == "2" else hashes.SHA1()
    certificate.public_key().verify(base64.b64decode(m["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        m = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if m["TopicArn"] != topic:
                raise ValueError("of another topic")
            verify(m)
        except (InvalidSignature, ValueError, KeyError):
            self.send_error(403)
            return
        if m["Type"] == "SubscriptionConfirmation":
            get(m["SubscribeURL"])
        self.send_response(204)
        self.end_headers()
        received.put(m)

    def log_message(self, *_):
        pass


sns = boto3.client("sns", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
topic = sns.create_topic(Name="python-webhook")["TopicArn"]
listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=listener.serve_forever, daemon=True).start()
sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{listener.server_port}/")
assert received.get(timeout=60)["Type"] == "SubscriptionConfirmation"
sns.publish(TopicArn=topic, Message="hello")
print("verified:", received.get(timeout=60)["Message"])
