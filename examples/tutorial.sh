#!/bin/sh
# The whole tutorial offline: the emulator on a folder that is thrown away, and tutorial.sql on it.
#
#     sh examples/tutorial.sh [output format]
set -eu

python=${PYTHON:-python3}
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/files" "$work/archive" "$work/results"

# Files of the package pydicom: some to upload, some that come by way of a bucket.
samples=$("$python" -c 'import pydicom, pathlib; print(pathlib.Path(pydicom.__file__).parent)')
cp "$samples/data/test_files/CT_small.dcm" "$samples/data/test_files/MR_small.dcm" "$work/files"
cp "$samples/data/test_files/rtplan.dcm" "$samples/data/test_files/JPEG2000.dcm" "$work/archive"

"$python" -m dicomsql emulator --root "$work/root" --port 0 >"$work/address" &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$work"' EXIT

until url=$(grep -o 'http://[^ ]*' "$work/address"); do
    kill -0 "$server" || exit 1
    sleep 0.1
done

"$python" -m dicomsql exec --endpoint "$url" --yes --quiet --output "${1:-table}" \
    --project your-project --location us-central1 \
    --var project=your-project --var bucket=your-dicom-bucket \
    --var files="$work/files" --var archive="$work/archive" --var results="$work/results" \
    --infile "$here/tutorial.sql"
