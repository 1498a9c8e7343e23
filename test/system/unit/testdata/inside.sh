# SPDX-License-Identifier: Apache-2.0
# The first process of new pid, mount, network and cgroup namespaces: makes a small host and becomes its systemd.
# Arguments: the folder with units, etc and program.
set -e
here=$1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
for folder in /run /var/lib /usr/local/bin; do
	mount -t tmpfs -o mode=0755 none "$folder"
done
mount -t tmpfs -o mode=0755 none "$here/etc"
cp -a /etc/passwd /etc/group /etc/nsswitch.conf "$here/etc/"
cp -a /etc/ssl /etc/ld.so.cache "$here/etc/" 2>/dev/null || true
mount --move "$here/etc" /etc
echo 'spillway:x:990:990::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
echo 'spillway:x:990:' >>/etc/group
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
mkdir /etc/spillway
cp "$here/spillway.yaml" /etc/spillway/
cp "$here/program" /usr/local/bin/spillway
chmod 0755 /usr/local/bin/spillway
ip link set lo up
ip link add veth0 type veth peer name veth1
ip link set veth0 up
ip link set veth1 up
export container=test SYSTEMD_UNIT_PATH="$here/units"
exec /lib/systemd/systemd --system --show-status=false --unit=default.target </dev/null
