#!/usr/bin/env bash
# From a fresh Debian machine to a Hadoop cluster that has counted the words of a real text. Safe to run again.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

profile=hadoop-2.7
tenant=${LABCLOUD_QUICKSTART_TENANT:-demo}
cluster=$tenant/$profile
stages=''

stage() { # NAME COMMAND...
  local name=$1 began=$EPOCHREALTIME
  shift
  say "» $name"
  "$@"
  stages+=$(printf '  %-44s %6.1f s' "$name" "$(awk "BEGIN { print $EPOCHREALTIME - $began }")")$'\n'
}

put_text() {
  # The licences that Debian is distributed under: English prose, on every Debian machine.
  hdfs dfs -test -e text/licences.txt && return 0
  hdfs dfs -mkdir -p text
  find /usr/share/common-licenses -type f -exec cat {} + | labcloud exec -i "$cluster" -- hdfs dfs -put - text/licences.txt
}

count_words() {
  hdfs dfs -test -e words/_SUCCESS && return 0
  hdfs dfs -rm -r -f -skipTrash words >/dev/null
  # Hadoop's client says much; of it, what a person waits for, and what went wrong.
  labcloud submit "$cluster" examples wordcount text words 2>&1 | grep -E 'Running job|map [0-9]+% +reduce|completed|rror|xception' >&2
}

show_words() { hdfs dfs -cat 'words/part-*' | sort -t "$(printf '\t')" -k 2,2nr -k 1,1 | awk 'NR <= 10'; }

hdfs() { labcloud exec "$cluster" -- hdfs "$@"; }

say "labcloud quickstart: installs Docker Engine, mmdebstrap and restic from Debian where they are missing, and labcloud into .venv;"
say "builds the $profile image; makes the cluster $cluster with two workers; counts the words of a text on it."
say ""
check_python
stage "Debian packages" install_packages
stage "Docker Engine" start_docker
stage "labcloud in .venv" install_python .venv -e .
PATH=$PWD/.venv/bin:$PATH
stage "image $profile" labcloud image build "$profile" >/dev/null
stage "cluster $cluster" labcloud create "$profile" --tenant "$tenant" --workers 2 >/dev/null
stage "a text into HDFS" put_text
stage "wordcount on YARN" count_words
words=$(mktemp)
trap 'rm -f "$words"' EXIT
stage "the result from HDFS" show_words >"$words"

printf '\nThe ten most frequent words:\n'
sed 's/^/  /' "$words"
printf '\n'
labcloud ui "$cluster"
printf '\nHow long it took:\n%s\n' "$stages"
cat <<TEXT
Next:
  . .venv/bin/activate
  labcloud show $cluster
  labcloud shell $cluster
  labcloud delete $cluster
TEXT
