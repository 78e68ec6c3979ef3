"""Makes and shows torrents with libtorrent, for the tests. Run with the system's Python.

    libtorrent_torrents.py make SOURCE TORRENT SPEC
    libtorrent_torrents.py show TORRENT

SPEC is a JSON object; its keys are those of `make` below. `show` prints what libtorrent reads in
the shape of `rondalla show --json`.
"""

import json
import os
import sys

import libtorrent

KINDS = {
    "v1": libtorrent.create_torrent.v1_only,
    "v1 with pads": libtorrent.create_torrent.v1_only | libtorrent.create_torrent.canonical_files,
    "hybrid": 0,
    "v2": libtorrent.create_torrent.v2_only,
}


def list_files(source):
    """Yields the path below the folder of `source` and the size of each file, in byte order."""
    parent = os.path.dirname(source)
    if os.path.isfile(source):
        paths = [source]
    else:
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names]
    for path in sorted(paths, key=os.fsencode):
        yield os.path.relpath(path, parent), os.path.getsize(path)


def make(source, torrent, spec):
    files = libtorrent.file_storage()
    for path, size in list_files(source):
        files.add_file(path, size)
    creator = libtorrent.create_torrent(files, spec["piece_length"], KINDS[spec["kind"]])
    for tier, urls in enumerate(spec.get("trackers", [])):
        for url in urls:
            creator.add_tracker(url, tier)
    for url in spec.get("web_seeds", []):
        creator.add_url_seed(url)
    for host, port in spec.get("nodes", []):
        creator.add_node(host, port)
    creator.set_comment(spec.get("comment", ""))
    creator.set_creator(spec.get("created_by", ""))
    creator.set_priv(spec.get("private", False))
    libtorrent.set_piece_hashes(creator, os.path.dirname(source))
    with open(torrent, "wb") as out:
        out.write(libtorrent.bencode(creator.generate()))


def show(torrent):
    info = libtorrent.torrent_info(torrent)
    storage = info.files()
    files = [
        {"path": storage.file_path(i), "size": storage.file_size(i)}
        for i in range(storage.num_files())
        if not storage.file_flags(i) & libtorrent.file_storage.flag_pad_file
    ]
    tiers = {}
    for tracker in info.trackers():
        tiers.setdefault(tracker.tier, []).append(tracker.url)
    return {
        "infohash": str(info.info_hashes().v1),
        "name": info.name(),
        "size": sum(file["size"] for file in files),
        "piece_length": info.piece_length(),
        "pieces": info.num_pieces(),
        "private": info.priv(),
        "files": files,
        "trackers": [tiers[tier] for tier in sorted(tiers)],
        "web_seeds": [seed["url"] for seed in info.web_seeds()],
        "nodes": ["%s:%d" % node for node in info.nodes()],
        "comment": info.comment(),
        "created_by": info.creator(),
        "creation_date": info.creation_date(),
    }


if sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
else:
    print(json.dumps(show(sys.argv[2])))
