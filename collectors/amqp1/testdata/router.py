"""A router that keeps nothing: what comes for an address goes on to who receives from it, and its outcome comes back.

router.py PORT

Prints a line when it listens. Ends with its standard input.
"""

import os
import sys
import threading

from proton import Delivery, Endpoint
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Router(MessagingHandler):
    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.receivers = {}  # by address: the links out
        self.senders = {}  # by address: the links in
        self.waiting = {}  # by delivery out: the delivery in

    def on_start(self, event):
        event.container.listen("127.0.0.1:" + sys.argv[1])
        print("listens", flush=True)

    def on_connection_opening(self, event):
        event.connection.container = "router"
        event.connection.properties = {"product": "router"}  # by which oslo.messaging chooses how it writes addresses

    def on_link_opening(self, event):
        link = event.link
        if link.is_sender:
            link.source.address = link.remote_source.address
            if link.remote_source.dynamic:  # who sends with oslo.messaging wants an address for answers
                link.source.dynamic = True
                link.source.address = "temporary/" + link.name
            self.receivers.setdefault(link.source.address, []).append(link)
        else:
            link.target.address = link.remote_target.address
            self.senders.setdefault(link.target.address, []).append(link)
            self.give(link.target.address)

    def on_link_flow(self, event):
        link = event.link
        if not link.is_sender:
            return
        self.give(link.source.address)
        if link.drain_mode and link.credit:
            link.drained()

    def give(self, address):
        """Gives who sends the credit of who receives."""
        credit = sum(l.credit for l in self.receivers.get(address, []) if not l.state & Endpoint.REMOTE_CLOSED)
        for link in self.senders.get(address, []):
            if credit > link.credit:
                link.flow(min(credit - link.credit, 10))

    def on_message(self, event):
        address = event.link.target.address
        for link in self.receivers.get(address, []):
            if link.credit and not link.state & Endpoint.REMOTE_CLOSED:
                out = link.send(event.message)
                if event.delivery.settled:
                    out.settle()
                else:
                    self.waiting[out] = event.delivery
                self.give(address)
                return
        event.delivery.update(Delivery.RELEASED)
        event.delivery.settle()

    def on_delivery(self, event):
        out = event.delivery
        if out.link.is_sender and out.updated and out in self.waiting:
            into = self.waiting.pop(out)
            into.update(out.remote_state or Delivery.RELEASED)
            into.settle()
            out.settle()

    def drop(self, link):
        for links in list(self.receivers.values()) + list(self.senders.values()):
            if link in links:
                links.remove(link)

    def on_link_closing(self, event):
        self.drop(event.link)

    def on_disconnected(self, event):
        for links in list(self.receivers.values()) + list(self.senders.values()):
            links[:] = [l for l in links if l.connection != event.connection]
        for out, into in list(self.waiting.items()):
            if out.link.connection == event.connection:
                del self.waiting[out]
                into.update(Delivery.MODIFIED)
                into.settle()


threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
Container(Router()).run()
