"""A Mainline of many libtorrent sessions in one process, on loopback, until standard input ends.

The last of them shares a torrent, whose peers it can find by the DHT alone. Says {"event": "ready"}
with the number of nodes when every table has some, and {"event": "complete"} when all is there. Run
with the system's Python, which has python3-libtorrent.
"""

import argparse
import json
import sys
import threading
import time

import libtorrent


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--first", type=int, required=True, help="the port of the first node")
    parser.add_argument("--torrent", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--role", choices=["seeds", "leeches"], required=True)
    return parser.parse_args()


def start_session(port, entry):
    return libtorrent.session({
        "listen_interfaces": f"127.0.0.1:{port}",
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "dht_bootstrap_nodes": entry,
        # All are behind one address here.
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False,
        "dht_enforce_node_id": False,
        "dht_ignore_dark_internet": False,
        "dht_block_ratelimit": 1000,
        "dht_upload_rate_limit": 1000000,
        "dht_announce_interval": 5,
        "auto_manage_interval": 1,
        "alert_mask": libtorrent.alert.category_t.status_notification
        | libtorrent.alert.category_t.error_notification
        | libtorrent.alert.category_t.dht_notification,
    })


def nodes_of(session):
    return session.status().dht_nodes


def main():
    arguments = parse_arguments()
    entry = f"127.0.0.1:{arguments.first}"
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), ended.set()), daemon=True).start()
    first = start_session(arguments.first, "")
    sessions = [first] + [start_session(0, entry) for _ in range(arguments.nodes - 1)]
    ports = [session.listen_port() for session in sessions]
    # Left alone, a new node gets to know another one every five seconds.
    while not ended.is_set() and any(nodes_of(session) < 8 for session in sessions):
        for session, own in zip(sessions, ports):
            for port in ports:
                if port != own:
                    session.add_dht_node(("127.0.0.1", port))
        time.sleep(1)
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(arguments.torrent)
    parameters.save_path = arguments.dir
    parameters.flags &= ~libtorrent.torrent_flags.auto_managed
    parameters.flags &= ~libtorrent.torrent_flags.paused
    handle = sessions[-1].add_torrent(parameters)
    say("ready", nodes=len(sessions))
    # Not wait_for_alert: what it gives points into a queue that libtorrent's own thread may move.
    while not ended.wait(0.2):
        for alert in sessions[-1].pop_alerts():
            kind = type(alert).__name__
            if kind == "torrent_finished_alert" and arguments.role == "leeches":
                say("complete")
            elif kind == "torrent_checked_alert":
                handle.force_dht_announce()
        if not ended.is_set() and not handle.status().is_seeding:
            handle.force_dht_announce()
            time.sleep(1)
        for session in sessions[:-1]:
            session.pop_alerts()


main()
