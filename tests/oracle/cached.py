"""Reads keys from one memcached server with pymemcache, independently of the runner.

    cached.py [--auth "USER PASSWORD"] [--tls CA [--identity CERTIFICATE KEY]] SERVER KEY...

SERVER is host:port, [IPv6]:port or unix:PATH. Prints a JSON object of the keys that are there and their values.
"""

import argparse
import json
import ssl

from pymemcache.client.base import Client


def address(text):
    if text.startswith("unix:"):
        return text
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--auth")
    options.add_argument("--tls", metavar="CA")
    options.add_argument("--identity", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options.add_argument("server")
    options.add_argument("keys", nargs="+")
    options = options.parse_args()

    context = None
    if options.tls:
        context = ssl.create_default_context(cafile=options.tls)
        if options.identity:
            context.load_cert_chain(*options.identity)
    client = Client(address(options.server), timeout=10, connect_timeout=10, tls_context=context)
    # To memcached, the first `set` of a connection is a password where it wants one.
    if options.auth and not client.set("auth", options.auth, noreply=False):
        raise SystemExit("the password is refused")
    found = client.get_many(options.keys)
    print(json.dumps({key: value.decode() for key, value in found.items()}, sort_keys=True))


main()
