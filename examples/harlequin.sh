#!/bin/sh
# Harlequin, the SQL IDE for the terminal, on a folder of the embedded emulator.
#
#   sh examples/harlequin.sh             opens it
#   sh examples/harlequin.sh --csv -c "SHOW PROVIDERS"   asks without a screen, by its program hsql
set -eu

: "${FOLDER:=./emulator-data}"

program=harlequin
[ $# -gt 0 ] && program=hsql

exec "$program" --adapter dicomsql --local "$FOLDER" demo/us-central1 "$@"
