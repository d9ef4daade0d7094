# shellcheck shell=bash
# What quickstart.sh and run-tests.sh share: what this machine must have, installed and started where it is missing.
# Sourced; every function says what it does before it does it, and ends the script with one sentence if it cannot.

dockerd_log=/var/log/dockerd.log
dockerd_started=''

say() { printf '%s\n' "$*" >&2; }

fail() { # WHAT WAY-OUT
  say "error: $1"
  say "  try: $2"
  exit 1
}

# Debian packages that labcloud needs: the engine, what it needs for networks, what makes base images, and what keeps backups.
packages_missing() {
  local package
  for package in docker.io:dockerd iptables:iptables iproute2:ip mmdebstrap:mmdebstrap git:git restic:restic "$@"; do
    command -v "${package#*:}" >/dev/null 2>&1 || [ -x "/usr/sbin/${package#*:}" ] || [ -e "/${package#*:}" ] || printf '%s ' "${package%%:*}"
  done
  python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv '
  [ -e /etc/ssl/certs/ca-certificates.crt ] || printf 'ca-certificates '
}

install_packages() { # MORE-PACKAGE:COMMAND... or, where it has none, MORE-PACKAGE:PATH-OF-A-FILE
  local missing
  missing=$(packages_missing "$@")
  [ -n "$missing" ] || return 0
  say "installing Debian packages: $missing"
  [ "$(id -u)" = 0 ] || fail "packages are missing, and only root can install them: $missing" "run this as root, or: sudo apt-get install $missing"
  command -v apt-get >/dev/null || fail "this machine has no apt-get" "install by hand what these Debian packages have: $missing"
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086 # a list of words
  if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "apt-get could not install $missing" "read $log, mend what it names, then run this again"
  fi
  rm -f "$log"
}

docker_answers() { docker version >/dev/null 2>&1; }

# A Docker that was killed leaves its number behind; while another program has that, or nobody has asked how the old one ended, the
# next would wait for it in vain.
forget_dead() { # PID-FILE PROGRAM
  local pid state
  [ -r "$1" ] || return 0
  pid=$(cat "$1")
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || [ "$state" = Z ]; then rm -f "$1"; fi
}

start_docker() {
  docker_answers && return 0
  [ "$(id -u)" = 0 ] || fail "no Docker Engine answers, and only root can start it" "run this as root, or: sudo systemctl start docker"
  say "starting Docker Engine"
  forget_dead /run/docker.pid dockerd
  forget_dead /run/docker/containerd/containerd.pid containerd
  if [ -d /run/systemd/system ]; then
    systemctl start docker || fail "systemd could not start Docker" "look at: journalctl -u docker"
  else
    setsid dockerd >>"$dockerd_log" 2>&1 </dev/null &
    dockerd_started=$!
  fi
  local waited
  for ((waited = 0; waited < 600; waited++)); do
    docker_answers && return 0
    if [ -n "$dockerd_started" ] && ! kill -0 "$dockerd_started" 2>/dev/null; then break; fi
    sleep 0.1
  done
  tail -n 5 "$dockerd_log" >&2
  fail "Docker Engine does not answer" "read $dockerd_log, mend what it names, then run this again"
}

# Only an engine that start_docker started; one that ran before goes on. A test may have started it again, as another process.
stop_docker() {
  [ -n "$dockerd_started" ] || return 0
  local engine
  engine=$(cat /run/docker.pid 2>/dev/null || printf '%s' "$dockerd_started")
  kill "$engine" 2>/dev/null || true
  while kill -0 "$engine" 2>/dev/null; do sleep 0.1; done
}

install_python() { # FOLDER PIP-ARGUMENT...
  local folder=$1 stamp
  shift
  stamp="$folder/.installed-$(cat pyproject.toml <(printf '%s' "$*") | sha256sum | cut -c1-12)"
  [ -e "$stamp" ] && return 0
  say "installing Python packages into $folder: $*"
  python3 -m venv "$folder" || fail "could not make $folder" "install python3-venv, or free some space"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" || fail "pip could not install $*" "look at its message above, then run this again"
  # Who may run labcloud, and may not write here, would compile all of it at each start: half of the time that it takes.
  "$folder/bin/python" -m compileall -q labcloud || true
  touch "$stamp"
}

check_python() {
  command -v python3 >/dev/null || fail "there is no python3" "apt-get install python3"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "labcloud needs Python 3.11 or newer" "install it, and put it first on the PATH"
}
