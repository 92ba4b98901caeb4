#!/bin/sh
# Asks a model by REST.   ./predict.sh http://localhost:8501/v1/models/digits-mlp rows.json
#
# rows.json is {"instances": [...]}: one entry an example. The answer goes to stdout; an error of the
# server, too, and then the exit code is 22.
set -eu

model=${1:?the URL of a model, such as http://localhost:8501/v1/models/digits-mlp}
rows=${2:?a file with rows}

# Asking changes nothing, so it may be done again: after a refused connection, 429, 500 and 502 to 504.
curl --silent --show-error --fail-with-body \
  --connect-timeout 2 --max-time 30 \
  --retry 3 --retry-connrefused --retry-delay 1 \
  --header 'Content-Type: application/json' \
  --data-binary "@$rows" \
  "$model:predict"
