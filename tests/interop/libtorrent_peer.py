"""A libtorrent peer for the tests: shares one torrent until its standard input ends.

The torrent may be a magnet link. Says {"event": "checked"} when it would take a handshake, {"event": "complete"} when all is there
and verified, one JSON object a line. Run with the system's Python, which has python3-libtorrent.
"""

import argparse
import json
import sys
import threading

import libtorrent


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def wait_for_end_of_input(ended):
    sys.stdin.buffer.read()
    ended.set()


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--torrent", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--listen", required=True, help="IP:PORT or [IPv6]:PORT")
    parser.add_argument("--dial", help="a peer's address, likewise")
    parser.add_argument("--lsd", action="store_true", help="look in the local network")
    parser.add_argument("--encrypted", action="store_true", help="nothing but RC4")
    return parser.parse_args()


def encryption(encrypted):
    if not encrypted:
        return {}
    policies, levels = libtorrent.enc_policy, libtorrent.enc_level
    return {
        "out_enc_policy": int(policies.forced),
        "in_enc_policy": int(policies.forced),
        "allowed_enc_level": int(levels.rc4),
    }


def start_session(listen, encrypted, lsd):
    # Left on, uTP would be dialled first, and a peer without it costs some 4 s.
    return libtorrent.session({
        **encryption(encrypted),
        "listen_interfaces": listen,
        "enable_dht": False,
        "enable_lsd": lsd,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": libtorrent.alert.category_t.status_notification
        | libtorrent.alert.category_t.error_notification,
    })


def add_torrent(session, torrent, folder):
    if torrent.startswith("magnet:"):
        parameters = libtorrent.parse_magnet_uri(torrent)
    else:
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~libtorrent.torrent_flags.auto_managed
    parameters.flags &= ~libtorrent.torrent_flags.paused
    return session.add_torrent(parameters)


def main():
    arguments = parse_arguments()
    session = start_session(arguments.listen, arguments.encrypted, arguments.lsd)
    handle = add_torrent(session, arguments.torrent, arguments.dir)
    if arguments.torrent.startswith("magnet:"):
        # There is nothing to check before the metadata is here.
        say("checked")
    ended = threading.Event()
    threading.Thread(target=wait_for_end_of_input, args=(ended,), daemon=True).start()
    # Not wait_for_alert: what it gives points into a queue that libtorrent's own thread may move.
    while not ended.wait(0.05):
        for alert in session.pop_alerts():
            kind = type(alert).__name__
            if kind == "torrent_checked_alert":
                say("checked")
                if arguments.dial:
                    host, port = arguments.dial.rsplit(":", 1)
                    handle.connect_peer((host.strip("[]"), int(port)))
            elif kind == "torrent_finished_alert":
                say("complete")
            elif "error" in kind or "failed" in kind:
                say("alert", kind=kind, message=alert.message())


main()
