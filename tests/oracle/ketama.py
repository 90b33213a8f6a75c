"""Says where libmemcached, by pylibmc, puts keys with ketama.

    ketama.py [--get] FILE

FILE holds a JSON list of [servers, keys]. Prints a list with an answer for each: the places in the list of servers that
the keys belong to, for which no server is asked; or with --get, the object of the keys that are found, and their values.
Servers of one list are all host:port, all [IPv6]:port, or all unix:PATH. Exits with 3 where there is no pylibmc.
"""

import json
import sys

try:
    import pylibmc
except ImportError:
    sys.exit(3)


def client(servers):
    return pylibmc.Client([text.removeprefix("unix:") for text in servers], behaviors={"ketama_weighted": True})


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def main():
    with open(sys.argv[-1], encoding="utf-8") as file:
        asked = json.load(file)
    answers = []
    for servers, keys in asked:
        asking = client(servers)
        if "--get" in sys.argv:
            answers.append({key: text(value) for key, value in asking.get_multi(keys).items()})
        else:
            answers.append([asking.hash(key) for key in keys])
    json.dump(answers, sys.stdout)


main()
