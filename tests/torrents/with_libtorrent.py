"""Makes torrents with libtorrent, or prints as JSON what libtorrent reads in those of a folder."""

import json
import pathlib
import sys

import libtorrent


def make(folder):
    versions = {"v1": libtorrent.create_torrent.v1_only, "hybrid": 0, "v2": libtorrent.create_torrent.v2_only}
    for version, flags in versions.items():
        for path in ("tree", "single.dat"):
            storage = libtorrent.file_storage()
            libtorrent.add_files(storage, path)
            torrent = libtorrent.create_torrent(storage, 16384, flags=flags)
            torrent.add_tracker("http://tracker.example/announce", 0)
            torrent.add_tracker("udp://backup.example:6969", 1)
            torrent.add_node("router.example", 6881)
            torrent.add_url_seed("http://seed.example/")
            torrent.set_comment("libtorrent " + version)
            libtorrent.set_piece_hashes(torrent, ".")
            kind = "tree" if path == "tree" else "single"
            name = folder / f"libtorrent-{version}-{kind}.torrent"
            name.write_bytes(libtorrent.bencode(torrent.generate()))


def expect(folder):
    found = {}
    for path in sorted(folder.glob("*.torrent")):
        torrent = libtorrent.torrent_info(str(path))
        if not torrent.info_hashes().has_v1():
            continue
        storage = torrent.files()
        files = [n for n in range(storage.num_files())
                 if not storage.file_flags(n) & libtorrent.file_flags_t.flag_pad_file]
        tiers = {}
        for tracker in torrent.trackers():
            tiers.setdefault(tracker.tier, []).append(tracker.url)
        found[path.name] = {
            "infohash": str(torrent.info_hashes().v1),
            "name": torrent.name(),
            "size": sum(storage.file_size(n) for n in files),
            "piece_length": torrent.piece_length(),
            "pieces": torrent.num_pieces(),
            "private": torrent.priv(),
            "files": [{"path": storage.file_path(n), "size": storage.file_size(n)} for n in files],
            # Libtorrent shuffles each tier (BEP 12).
            "trackers": [sorted(tier) for tier in tiers.values()],
            "web_seeds": [seed["url"] for seed in torrent.web_seeds()],
            "nodes": [f"{host}:{port}" for host, port in torrent.nodes()],
            "comment": torrent.comment() or None,
            "created_by": torrent.creator() or None,
            "creation_date": torrent.creation_date() or None,
            "hashes": [torrent.hash_for_piece(n).hex() for n in (0, torrent.num_pieces() - 1)],
        }
    json.dump(found, sys.stdout, indent=1, ensure_ascii=False)
    print()


{"make": make, "expect": expect}[sys.argv[1]](pathlib.Path(sys.argv[2]))
