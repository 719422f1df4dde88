import unittest
import urllib.error
import urllib.request

import boto3

from openmnq_test_server import Server


class TestServer(unittest.TestCase):
    def test_starts_answers_and_stops(self):
        with Server() as a, Server() as b:
            self.assertNotEqual(a.url, b.url)
            sqs = boto3.client("sqs", **a.boto3)
            url = sqs.create_queue(QueueName="q")["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody="hello")
            got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            self.assertEqual(got["Messages"][0]["Body"], "hello")
            self.assertRegex(a.nats_url, r"^nats://127\.0\.0\.1:\d+$")
            a.stop()
            a.stop()
            with self.assertRaises(urllib.error.URLError):
                urllib.request.urlopen(a.url + "/readyz")
            self.assertEqual(urllib.request.urlopen(b.url + "/readyz").status, 200)

    def test_what_goes_wrong_is_told(self):
        with self.assertRaises(FileNotFoundError):
            Server(binary="/nowhere/mnq").start()
        with self.assertRaisesRegex(RuntimeError, "--http: must be a loopback address"):
            Server(args=["--http", "0.0.0.0:0"]).start()


if __name__ == "__main__":
    unittest.main()
