"""Sends what is read from standard input, a message in a line, to an address: as text and as bytes in turn.

send.py URL ADDRESS [settled]

Ends when all are accepted, or sent where they are settled at once; the exit code tells.
"""

import sys

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import AtLeastOnce, AtMostOnce, Container


class Sender(MessagingHandler):
    def __init__(self, url, address, settled, lines):
        super().__init__()
        self.url, self.address, self.settled, self.lines = url, address, settled, lines
        self.sent = self.accepted = 0

    def on_start(self, event):
        connection = event.container.connect(self.url, sasl_enabled=True, allowed_mechs="PLAIN ANONYMOUS", reconnect=False)
        options = AtMostOnce() if self.settled else AtLeastOnce()
        event.container.create_sender(connection, self.address, options=options)

    def on_sendable(self, event):
        while event.sender.credit and self.sent < len(self.lines):
            body = self.lines[self.sent]
            message = Message(body=body.encode() if self.sent % 2 else body, content_type="application/json")
            message.inferred = self.sent % 2 == 1
            event.sender.send(message)
            self.sent += 1
        if self.settled and self.sent == len(self.lines):
            event.connection.close()

    def on_accepted(self, event):
        self.accepted += 1
        if self.accepted == len(self.lines):
            event.connection.close()

    def on_rejected(self, event):
        sys.exit("rejected: %s" % event.delivery.remote.condition)

    def on_released(self, event):
        sys.exit("released")

    def on_transport_error(self, event):
        sys.exit("transport: %s" % event.transport.condition)

    def on_link_error(self, event):
        sys.exit("link: %s" % event.link.remote_condition)


Container(Sender(sys.argv[1], sys.argv[2], len(sys.argv) > 3, sys.stdin.read().splitlines())).run()
