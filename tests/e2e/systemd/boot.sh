#!/bin/sh
# Boots systemd as PID 1 on a temporary copy of this system: boot.sh SCRATCH COMMAND...
# It runs in its own namespaces (mount, pid, net, uts, ipc). Written files are kept in memory, and kernel settings and
# hardware are not accessible. COMMAND runs before systemd, with the path of the new root in $ROOT. An empty control group
# with the name of SCRATCH remains; boot.sh --sweep SCRATCH removes it and must run in a mount namespace.
set -eu

case $1 in
--sweep)
    # The cgroup2 file system is mounted over the directory whose name the control group has.
    mount -t cgroup2 cgroup2 "$2"
    [ ! -d "$2/${2##*/}" ] || find "$2/${2##*/}" -depth -type d -exec rmdir {} +
    exit
    ;;
--enter)
    # The system has its own control group, which systemd sees as the root. Otherwise two systems at the same time would
    # take each other's processes for their own and kill them.
    cd "$2/root"
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mkdir -p run/old
    pivot_root . run/old
    umount -l /run/old
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=test.target --log-level=warning --show-status=no </dev/null
    ;;
esac

scratch=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root" "$scratch/groups"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
ROOT=$scratch/root
export ROOT
cd "$ROOT"
# Units of this system are removed, and so is a policy that prevents services from being started.
rm -rf usr/sbin/policy-rc.d etc/systemd/system var/lib/systemd var/log/journal
mkdir -p etc/systemd/system
"$@"
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-random-seed.service \
    systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
cat >etc/systemd/system/test.target <<UNIT
[Unit]
Requires=basic.target
After=basic.target
UNIT
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t cgroup2 cgroup2 "$scratch/groups"
mkdir "$scratch/groups/${scratch##*/}"
echo 0 >"$scratch/groups/${scratch##*/}/cgroup.procs"
umount "$scratch/groups"
exec unshare --cgroup sh "$0" --enter "$scratch"
