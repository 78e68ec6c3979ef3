#!/bin/sh
# Makes the torrents of this folder again, and expected.json, which says what libtorrent reads in
# them. Needs, from Debian: mktorrent transmission-cli buildtorrent python3-libtorrent; from PyPI:
# torf py3createtorrent dottorrent. Dates differ from run to run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"

# Odd and zero sizes, names with spaces and letters beyond ASCII, a file before and after a folder
# of the same beginning.
mkdir -p tree/sub/deep tree/empty-ones
seq 1 9000 > tree/numbers.txt
printf x > tree/sub-a
printf yy > tree/sub/b.bin
seq 1 20000 > 'tree/sub/deep/Grüße 名前.txt'
: > tree/empty-ones/first
: > tree/zero
seq 1 5000 > single.dat

rm -f "$here"/*.torrent
announce=http://tracker.example/announce
backup=udp://backup.example:6969

mktorrent -a "$announce,$backup" -a http://other.example/a -w http://seed.example/f/ -c 'A comment' \
    -l 15 -o "$here/mktorrent-tree.torrent" tree > /dev/null
mktorrent -p -s SRC -d -l 15 -a "$announce" -o "$here/mktorrent-private.torrent" single.dat > /dev/null
transmission-create -t "$announce" -t "$backup" -c Kommentar -o "$here/transmission-tree.torrent" tree > /dev/null
transmission-create -p -t "$announce" -o "$here/transmission-single.torrent" single.dat > /dev/null
buildtorrent -q -a "$announce" -l 32768 tree "$here/buildtorrent-tree.torrent"
/usr/bin/python3 "$here/with_libtorrent.py" make "$here"
py3createtorrent -q --force -p 16 -t "$announce" -o "$here/py3createtorrent-tree.torrent" tree
python3 - "$here" "$announce" <<'PYTHON'
import sys, torf, dottorrent
here, announce = sys.argv[1:]
made = torf.Torrent(path="tree", trackers=[[announce], ["http://b.example/a"]], source="SRC",
                    webseeds=["http://seed.example/"], comment="made by torf")
made.generate()
made.write(here + "/torf-tree.torrent", overwrite=True)
made = dottorrent.Torrent("single.dat", trackers=[announce], private=True, source="SRC", include_md5=True)
made.generate()
with open(here + "/dottorrent-single.torrent", "wb") as file:
    made.save(file)
PYTHON
/usr/bin/python3 "$here/with_libtorrent.py" expect "$here" > "$here/expected.json"
