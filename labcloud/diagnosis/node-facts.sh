# shellcheck shell=bash
# Gathers what a diagnosis asks of a node, in one go; read by bash from its standard input, as root. Changes nothing, unless it measures.
#   $1      milliseconds to measure processor and disk for; 0 measures nothing
#   $2 …    host names that have to resolve
# Prints rows of fields that tabs separate; labcloud/diagnosis/facts.py reads them.
set -u
export LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
measure=$1
shift
cluster=/etc/labcloud/cluster
log_dir=/var/log/hadoop

row() {
    local IFS=$'\t'
    printf '%s\n' "$*"
}

# value FILE: its first line, or nothing
value() {
    local line=
    if [[ -r $1 ]]; then IFS= read -r line <"$1"; fi
    printf '%s' "$line"
}

# field FILE NAME: the value behind NAME in a file of "NAME VALUE" lines
field() {
    local name number
    if [[ -r $1 ]]; then
        while read -r name number _; do
            if [[ $name == "$2" ]]; then printf '%s' "$number"; fi
        done <"$1"
    fi
}

memory() {
    local v1=/sys/fs/cgroup/memory v2=/sys/fs/cgroup
    if [[ -r $v1/memory.limit_in_bytes ]]; then
        row memory "$(value $v1/memory.limit_in_bytes)" "$(value $v1/memory.usage_in_bytes)" "$(field $v1/memory.stat total_inactive_file)" \
            "$(value $v1/memory.failcnt)" "$(field $v1/memory.oom_control oom_kill)"
    else
        row memory "$(value $v2/memory.max)" "$(value $v2/memory.current)" "$(field $v2/memory.stat inactive_file)" \
            "$(field $v2/memory.events max)" "$(field $v2/memory.events oom_kill)"
    fi
}

cpu() {
    local file=/sys/fs/cgroup/cpu.stat
    if [[ -r /sys/fs/cgroup/cpu/cpu.stat ]]; then file=/sys/fs/cgroup/cpu/cpu.stat; fi
    row cpu "$EPOCHREALTIME" "$(field $file nr_periods)" "$(field $file nr_throttled)"
}

# Three small writes, each waited for until the disk has it.
disk_latency() {
    local began=$EPOCHREALTIME file=/data/0/.labcloud-diagnosis
    if dd if=/dev/zero of=$file bs=4096 count=3 oflag=dsync status=none 2>/dev/null; then
        row latency $(((${EPOCHREALTIME/./} - ${began/./}) / 3))
    fi
    rm -f $file
}

# The file systems of the node, of its logs, of its volumes and of its services' folders; each once.
disks() {
    local folder mode file seen=" " place
    local -a folders=(/ "$log_dir" /data/*)
    for file in "$cluster"/services/*; do
        # shellcheck disable=SC2207
        folders+=($(
            # shellcheck source=/dev/null
            . "$file" >/dev/null 2>&1
            printf '%s ' "${SERVICE_DIRS-}"
        ))
    done
    for folder in "${folders[@]}"; do
        if [[ ! -d $folder ]]; then continue; fi
        place=$(stat -c '%m' -- "$folder")
        if [[ $seen == *" $place "* ]]; then continue; fi
        seen+="$place "
        mode=rw
        if [[ ! -w $folder ]]; then mode=ro; fi
        # shellcheck disable=SC2046
        row disk "$folder" $mode $(df -k --output=size,avail,itotal,iavail -- "$folder" | tail -n 1)
    done
}

names() {
    local name address
    row address "$(hostname -I)"
    for name; do
        read -r address _ < <(timeout 5 getent hosts "$name")
        row name "$name" "${address-}"
    done
}

services() {
    local file name folder
    for file in "$cluster"/services/*; do
        if [[ ! -f $file ]]; then continue; fi
        name=${file##*/}
        if [[ ! -d /run/service/$name ]]; then
            row service "$name" missing
            continue
        fi
        # shellcheck disable=SC2046
        row service "$name" $(s6-svstat -o up,wantedup,pid,updownfor "/run/service/$name")
        deaths "$name"
        process "$name" "$(s6-svstat -o pid "/run/service/$name")"
        (
            # shellcheck source=/dev/null
            . "$file"
            for folder in ${SERVICE_DIRS-}; do
                row folder "$name" "$folder" "${SERVICE_USER-}" "$(stat -c '%U' -- "$folder" 2>/dev/null)" "$(stat -c '%a' -- "$folder" 2>/dev/null)"
            done
        )
    done
}

# The supervisor's own tally of how often the service ended, and how; one row each, with how many seconds ago. Its times are TAI64N
# labels, with or without leap seconds: so they are compared with such a label of now.
deaths() {
    local stamp how what
    while read -r stamp how what; do
        row death "$1" $((16#${now:1:16} - 16#${stamp:1:16})) "$how" "$what"
    done < <(s6-svdt "/run/service/$1" 2>/dev/null)
}

process() {
    local name number state=
    if [[ -r /proc/$2/status ]]; then
        state=$(field "/proc/$2/status" State:)
        number=$(field "/proc/$2/status" VmRSS:)
        row process "$1" "$state" "${number:-0}"
    fi
}

identities() {
    local file line
    for file in /data/*/hdfs/{name,data}/current/VERSION; do
        if [[ -r $file ]]; then
            while IFS= read -r line; do
                if [[ $line == clusterID=* ]]; then row identity "$file" "${line#*=}"; fi
            done <"$file"
        fi
    done
}

blocks() {
    local folder count=0
    for folder in /data/*/hdfs/data/current/BP-*/current; do
        if [[ -d $folder ]]; then
            count=$((count + $(find "$folder" -name 'blk_*' ! -name '*.meta' -type f | wc -l)))
        fi
    done
    row blocks $count
}

logs() {
    local file name line
    for file in "$cluster"/services/*; do
        name=${file##*/}
        if [[ -r $log_dir/$name.log ]]; then
            while IFS= read -r line; do row log "$name" "${line//$'\t'/ }"; done < <(
                tail -c 98304 "$log_dir/$name.log" | grep -aE 'FATAL|ERROR|WARN|Exception|Error|STARTUP_MSG: Starting' | tail -n 60
            )
        fi
        if [[ -r $log_dir/$name.out ]]; then
            while IFS= read -r line; do row out "$name" "${line//$'\t'/ }"; done < <(tail -c 8192 "$log_dir/$name.out" | tail -n 30)
        fi
    done
}

now=$(s6-tai64n <<<"")
cpu
row clock "$EPOCHREALTIME"
memory
disks
names "$@"
services
identities
blocks
logs
if ((measure > 0)); then
    exec {pause}<> <(:)
    read -rt "$((measure / 1000)).$(printf %03d $((measure % 1000)))" -u "$pause"
    disk_latency
fi
cpu
