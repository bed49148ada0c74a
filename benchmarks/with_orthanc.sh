#!/usr/bin/env bash
# Runs a command beside an empty Orthanc, both in a network namespace of their own: Orthanc listens on all interfaces
# whatever its configuration says, and nothing of this machine's network can be reached from there or reach it.
#   benchmarks/with_orthanc.sh COMMAND...        Orthanc is ORTHANC at 127.0.0.1:14242 (DICOM) and :18042 (HTTP)
# It knows TESTSCU at port 14243, LUNGS (product) at 11112 and TESTER (tester) at 11113, and speaks DICOMweb at
# /dicom-web where that plugin is installed. ORTHANC_LUA names a script of routes, such as benchmarks/orthanc_routes.lua.
# Needs (Debian): apt-get install --no-install-recommends orthanc orthanc-gdcm orthanc-dicomweb dcmtk dicom3tools
set -euo pipefail

if [ -z "${ORTHANC_NAMESPACE:-}" ]; then
    export ORTHANC_NAMESPACE=1
    [ "$(id -u)" = 0 ] && exec unshare -n "$0" "$@"
    exec unshare -rn "$0" "$@"
fi

python3 - <<'PYTHON' # a new namespace has a loopback that is down, and not every machine has ip
import fcntl, socket, struct
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS, up and running
PYTHON

folder=$(mktemp -d)
web=/usr/share/orthanc/plugins/libOrthancDicomWeb.so
[ -e "$web" ] && plugins="\"$web\"" || plugins=
lua=${ORTHANC_LUA:+"\"$(realpath "$ORTHANC_LUA")\""}
cat >"$folder/orthanc.json" <<JSON
{"StorageDirectory": "$folder/db", "IndexDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242,
 "DicomAet": "ORTHANC", "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [$plugins],
 "DicomAlwaysAllowGet": true, "StableAge": 1, "LuaScripts": [$lua],
 "DicomModalities": {"test": {"AET": "TESTSCU", "Host": "127.0.0.1", "Port": 14243,
                              "AllowFind": true, "AllowGet": true, "AllowMove": true},
                     "product": ["LUNGS", "127.0.0.1", 11112], "tester": ["TESTER", "127.0.0.1", 11113]}}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
trap 'kill $orthanc 2>/dev/null; wait $orthanc 2>/dev/null || true; rm -rf "$folder"' EXIT

for _ in $(seq 300); do
    if (exec 3<>/dev/tcp/127.0.0.1/14242) 2>/dev/null; then
        "$@"
        exit
    fi
    kill -0 $orthanc 2>/dev/null || break
    sleep 0.2
done
echo "Orthanc did not start:" >&2
cat "$folder/log" >&2
exit 1
