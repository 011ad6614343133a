#!/bin/sh
# Serves as process 1 of a container with the mounts and the user of packaging/container:
#   container.sh SCRATCH PROGRAM MODE
# SCRATCH/config.toml and SCRATCH/plugins become a ConfigMap and a volume with the same links. MODE is that of the volumes
# for sockets and state. The script runs in its own mount and pid namespaces.
set -eu
scratch=$1 program=$2 mode=$3

mount --make-rprivate /
mkdir "$scratch/container"
mount -t tmpfs tmpfs "$scratch/container"
cd "$scratch/container"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root
cp "$program" root/usr/bin/jackfield
cd root
rm -rf etc/jackfield
mkdir -p etc/jackfield plugins run/jackfield var/lib/jackfield client

# Each name is a link through ..data, which an update replaces.
for volume in etc/jackfield plugins; do
    mount -t tmpfs -o mode=755 tmpfs "$volume"
    mkdir "$volume/..first"
    ln -s ..first "$volume/..data"
done
install -m 644 "$scratch/config.toml" etc/jackfield/..first/config.toml
ln -s ..data/config.toml etc/jackfield/config.toml
for file in "$scratch"/plugins/*.so; do
    install -m 644 "$file" "plugins/..first/${file##*/}"
    ln -s "..data/${file##*/}" "plugins/${file##*/}"
done

mount -t tmpfs -o "mode=$mode" tmpfs run/jackfield
mount -t tmpfs -o "mode=$mode" tmpfs var/lib/jackfield
# PHP-FPM mounts the volume of the socket read-only.
mount --bind run/jackfield client
mount -o remount,bind,ro client
mount -t proc proc proc
mount --rbind /dev dev
mount -o remount,ro .

exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --no-new-privs \
    chroot --userspec=10001:33 --groups=33 . /usr/bin/jackfield serve
