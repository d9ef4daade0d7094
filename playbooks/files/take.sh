#!/bin/sh
# Makes this machine the node that the archive on standard input says it is (tar, in base64):
#   cluster/   /etc/labcloud/cluster becomes exactly this
#   base/      /etc/labcloud/base becomes exactly this
#   name       the node's own name
#   hosts      lines of /etc/hosts: all nodes of the cluster
#   folders    a folder a line, to be made
#   disks      a folder and the serial number of a disk a line: the disk is mounted there, now and at each start, and gets a file system if it has none
#   datasets   where they are: "served" to the others by this node, or the address of the node that serves them
#   start      present if the services shall be started
# What is not in the archive stays as it is. Files are renamed into their place, so that nobody reads half of one. Prints what changed.
set -eu
umask 022
new=$(mktemp -d /etc/labcloud/.new.XXXXXX)
trap 'rm -rf "$new"' EXIT
base64 -d | tar -xz -p --no-same-owner -C "$new" -f -

# exactly NAME: /etc/labcloud/NAME gets the files of $new/NAME, and loses all others
exactly() {
    to=/etc/labcloud/$1
    [ -d "$new/$1" ] || return 0
    mkdir -p "$to"
    (cd "$new/$1" && find . -type d) | while IFS= read -r folder; do
        mkdir -p "$to/$folder"
        chmod --reference="$new/$1/$folder" "$to/$folder"
    done
    (cd "$new/$1" && find . -type f) | while IFS= read -r file; do
        cmp -s "$new/$1/$file" "$to/$file" && continue
        mv -f "$new/$1/$file" "$to/$file.labcloud-new"
        mv -f "$to/$file.labcloud-new" "$to/$file"
        printf '%s/%s\n' "$1" "$file"
    done
    (cd "$to" && find . ! -type d) | while IFS= read -r file; do
        grep -qxF "$file" "$new/$1.list" && continue
        rm -f "$to/$file"
        printf '%s/%s gone\n' "$1" "$file"
    done
    (cd "$to" && find . -depth -mindepth 1 -type d -empty -delete)
}

for each in cluster base; do
    [ ! -d "$new/$each" ] || (cd "$new/$each" && find . -type f) >"$new/$each.list"
    exactly "$each"
done

if [ -f "$new/hosts" ]; then
    # What the lab says for all nodes stands between two marks, and is /usr/lib/labcloud/refresh's.
    {
        printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'
        cat "$new/hosts"
        sed -n '/^# labcloud: for all nodes$/,/^# labcloud: end$/p' /etc/hosts
    } >"$new/etc-hosts"
    if ! cmp -s "$new/etc-hosts" /etc/hosts; then
        cp "$new/etc-hosts" /etc/hosts.labcloud-new
        mv -f /etc/hosts.labcloud-new /etc/hosts
        printf 'hosts\n'
    fi
fi

if [ -f "$new/name" ]; then
    name=$(cat "$new/name")
    if [ "$(cat /etc/hostname 2>/dev/null || :)" != "$name" ] || [ "$(hostname)" != "$name" ]; then
        printf '%s\n' "$name" >/etc/hostname
        hostname "$name"
        printf 'name\n'
    fi
fi

if [ -f "$new/folders" ]; then
    while IFS= read -r folder; do mkdir -p "$folder"; done <"$new/folders"
fi

# The disk with a serial number. virtio keeps the first 20 signs of it, other buses keep all.
disk_of() {
    for waited in $(seq 150); do
        for disk in /dev/disk/by-id/*"$(printf %.20s "$1")"*; do
            if [ -b "$disk" ] && [ "${disk%-part[0-9]*}" = "$disk" ]; then
                printf '%s' "$disk"
                return 0
            fi
        done
        sleep 0.2
    done
    echo "no disk with the serial number $1 came within 30 s (looked $waited times)" >&2
    return 1
}

if [ -f "$new/disks" ]; then
    while read -r folder serial; do
        disk=$(disk_of "$serial")
        seen=0
        blkid -p "$disk" >/dev/null || seen=$?
        case $seen in
            0) ;; # it has data: they stay
            2) mkfs.ext4 -q -m 0 "$disk" && printf '%s has a file system\n' "$folder" ;;
            *) echo "$disk cannot be read, and is not touched" >&2 && exit 1 ;;
        esac
        if ! grep -q "^$disk " /etc/fstab 2>/dev/null; then
            # A node starts no daemon before its data are there, but it starts: it is looked at over ssh.
            needs=nofail,x-systemd.required-by=labcloud-node.service,x-systemd.before=labcloud-node.service
            printf '%s %s ext4 noatime,%s 0 2\n' "$disk" "$folder" "$needs" >>/etc/fstab
            systemctl daemon-reload
        fi
        mountpoint -q "$folder" || { mount "$folder" && printf '%s is mounted\n' "$folder"; }
    done <"$new/disks"
fi

has_file_system() {
    grep -qw "$1" /proc/filesystems || modprobe -q "$1" || {
        echo "the kernel of this machine has no $1: datasets are shared by NFS" >&2
        return 1
    }
}

if [ -f "$new/datasets" ]; then
    served=/srv/labcloud/datasets
    read -r where <"$new/datasets"
    if [ "$where" = served ]; then
        has_file_system nfsd
        network=$(ip -4 -o route show scope link proto kernel | cut -d' ' -f1 | head -n 1)
        mkdir -p "$served" /etc/exports.d
        printf '%s %s(ro,all_squash,fsid=0,no_subtree_check)\n' "$served" "$network" >/etc/exports.d/labcloud.exports
        systemctl start nfs-server.service
        exportfs -r
        mounted="$served /datasets none bind,ro,nofail 0 0"
    else
        has_file_system nfs4
        mounted="$where:/ /datasets nfs4 ro,nosuid,nodev,_netdev,nofail,x-systemd.before=labcloud-node.service 0 0"
    fi
    if ! grep -qxF "$mounted" /etc/fstab 2>/dev/null; then # it is the first time, or another node serves them now
        ! mountpoint -q /datasets || umount -l /datasets
        { grep -v ' /datasets ' /etc/fstab 2>/dev/null || :; printf '%s\n' "$mounted"; } >/etc/fstab.labcloud-new
        mv -f /etc/fstab.labcloud-new /etc/fstab
        systemctl daemon-reload
    fi
    mountpoint -q /datasets || { mount /datasets && printf 'datasets are mounted\n'; }
fi

# In a container systemd may not find the control group of a unit that was stopped a moment ago; the second time it makes a new one.
if [ -f "$new/start" ]; then systemctl start labcloud-node.service || systemctl start labcloud-node.service; fi
