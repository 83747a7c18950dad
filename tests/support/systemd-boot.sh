#!/bin/sh
# Boot a real systemd on an overlay of this machine's own file system, in namespaces of its own.
#
#   systemd-boot.sh probe BASE                        try what a boot needs, then undo it; says what is missing
#   systemd-boot.sh enter BASE NAME SHARED [BIND...]  become the process that holds the machine: its end is the machine's
#   systemd-boot.sh sweep BASE NAME                   remove what the dead machine left in the cgroup tree
#
# Run it in a mount namespace of its own (`unshare --mount`). BASE is an empty folder for the private mounts; NAME the
# machine's cgroup; SHARED a folder seen in the machine as /srv/machine, with the unit files in `units`; each BIND a
# folder on another file system that the machine needs at the same path.
set -eu

stage=$1
base=$2

mount_private_parts() {
    mount -t tmpfs -o mode=755 tmpfs "$base"
    mkdir "$base/upper" "$base/work" "$base/root" "$base/cgroup"
    mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
    mount -t cgroup2 cgroup2 "$base/cgroup"
}

fill_dev() {
    mount -t tmpfs -o mode=755 tmpfs dev
    for node in null zero full random urandom tty; do
        : > "dev/$node"
        mount --bind "/dev/$node" "dev/$node"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
}

fill_root() {
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    fill_dev
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mkdir -p run/systemd/system srv/machine
    mount --bind "$shared" srv/machine
    mount --bind "$shared/units" run/systemd/system
    for folder; do
        mkdir -p ".$folder"
        mount --rbind "$folder" ".$folder"
    done
}

case $stage in
probe)
    mount_private_parts
    mkdir "$base/cgroup/jobsup-probe-$$"
    rmdir "$base/cgroup/jobsup-probe-$$"
    exec unshare --fork --pid --mount --uts --ipc --net --cgroup true
    ;;
enter)
    name=$3
    mount_private_parts
    mkdir "$base/cgroup/$name"
    echo $$ > "$base/cgroup/$name/cgroup.procs"
    shift 3
    exec unshare --fork --pid --mount --propagation private --uts --ipc --net --cgroup --kill-child=KILL \
        sh "$0" pivot "$base" "$@"
    ;;
pivot)
    shared=$3
    shift 3
    cd "$base/root"
    fill_root "$@"
    ip link set lo up 2>/dev/null || true
    mkdir oldroot
    pivot_root . oldroot
    umount -l /oldroot
    cd /
    rmdir /oldroot
    exec env -i container=jobsup-tests PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=machine.target --log-target=journal --show-status=no
    ;;
sweep)
    mount -t cgroup2 cgroup2 "$base"
    [ ! -d "$base/$3" ] || find "$base/$3" -depth -type d -exec rmdir {} +
    ;;
esac
