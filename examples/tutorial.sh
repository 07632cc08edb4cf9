#!/bin/sh
# The whole tutorial offline: the emulator on a folder that is thrown away, and tutorial.sql on it.
#
#     sh examples/tutorial.sh [output format]
#
# PYTHON names the interpreter; else it is the active environment's, the one in .venv, or python3.
set -eu

here=$(dirname "$0")
python=python3
[ -n "${VIRTUAL_ENV:-}" ] || [ ! -x "$here/../.venv/bin/python" ] || python=$here/../.venv/bin/python
python=${PYTHON:-$python}

# What the emulator and its de-identification import, and where pydicom keeps its files.
samples=$("$python" - dicomsql starlette uvicorn numpy PIL pydicom dicomanonymizer deid <<'END'
import sys
from importlib.util import find_spec
from pathlib import Path

missing = [name for name in sys.argv[1:] if find_spec(name) is None]
if missing:
    sys.exit(
        f"The tutorial needs packages that {sys.executable} does not have: {', '.join(missing)}. "
        'Run `make tutorial`, or install "dicomsql[emulator,deidentify]".'
    )
print(Path(find_spec("pydicom").origin).parent / "data" / "test_files")
END
)

# Whatever ends the script, the folder and both programs go with it. Not every shell runs the EXIT
# trap on a signal, and none runs a trap while it waits for a program in the foreground.
work='' server='' statements=''
finish() {
    trap '' HUP INT TERM
    for program in $statements $server; do
        kill "$program" 2>/dev/null || true
        wait "$program" 2>/dev/null || true
    done
    [ -z "$work" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

work=$(mktemp -d)
mkdir "$work/files" "$work/archive" "$work/results"

# Some files to upload, some that come by way of a bucket.
cp "$samples/CT_small.dcm" "$samples/examples_palette.dcm" "$work/files"
cp "$samples/rtplan.dcm" "$samples/rtdose.dcm" "$work/archive"

"$python" -m dicomsql emulator --root "$work/root" --port 0 >"$work/address" &
server=$!

until url=$(grep -o 'http://[^ ]*' "$work/address"); do
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.1
done

"$python" -m dicomsql exec --endpoint "$url" --yes --quiet --output "${1:-table}" \
    --project your-project --location us-central1 \
    --var project=your-project --var bucket=your-dicom-bucket \
    --var files="$work/files" --var archive="$work/archive" --var results="$work/results" \
    --infile "$here/tutorial.sql" &
statements=$!
ended=0
wait "$statements" || ended=$?
statements=''
exit "$ended"
