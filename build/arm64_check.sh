#!/bin/sh
# Runs edgechat --self-test on emulated Arm processors, from this checkout, on an x86-64 Debian:
# `build/arm64_check.sh DIR [PROCESSOR...]`. DIR (outside of the checkout) gets a Debian root of half a gigabyte, made
# once; run it as root. It needs debootstrap, qemu-user-static, uv and a network, and half an hour. Speed under emulation
# means nothing; right and wrong do.
#   cortex-a72  Raspberry Pi 4, without the dot product extension     cortex-a76  Raspberry Pi 5, with it
#   max         with everything that the emulator knows
# Ends with 0 if each of them computes right, and if those with the extension say in words that they compute wrong once
# KleidiAI is switched on again by hand.
set -eu
place=${1:?folder to work in}
shift
[ "$#" -gt 0 ] || set -- cortex-a72 cortex-a76 max
here=$(cd -- "$(dirname -- "$0")/.." && pwd)
root=$place/root
mkdir -p "$place"
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
  mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  cat /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register
fi
if [ ! -e "$root/.made" ]; then
  debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,python3-venv,zlib1g,libpython3.11 bookworm "$root"
  for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  for name in null zero urandom tty; do
    [ -e "$root/dev/$name" ] || : >"$root/dev/$name"
  done
  chroot "$root" /sbin/ldconfig
  : >"$root/.made"
fi
# Not /sys: the numbers of this machine's processors would be believed.
trap 'for name in null zero urandom tty; do umount "$root/dev/$name" 2>/dev/null; done; umount "$root/proc" 2>/dev/null || :' EXIT
for name in null zero urandom tty; do mount --bind "/dev/$name" "$root/dev/$name"; done
mount -t proc proc "$root/proc"
(cd "$here" && uv export --quiet --locked --no-emit-project --no-default-groups --group model --no-hashes) >"$place/requirements.txt"
uv pip install --quiet --python-platform aarch64-manylinux_2_28 --python-version 3.11 --target "$root/site" --no-deps \
  -r "$place/requirements.txt"
rm -rf "${root:?}/source" "${root:?}/home"
mkdir "$root/source"
cp -r "$here/edgechat" "$root/source/edgechat"
# Converted here: the folder is the same, byte by byte.
(cd "$here" && EDGECHAT_HOME="$root/home" uv run python -P -m edgechat _install-default >/dev/null)

test_on() { # a processor; signing pointers the way the architecture does is most of the time where it is emulated
  case $1 in max) cpu=max,pauth-impdef=on ;; *) cpu=$1 ;; esac
  unshare --net chroot "$root" env -i HOME=/root EDGECHAT_HOME=/home PYTHONPATH=/site:/source QEMU_CPU="$cpu" \
    EDGECHAT_CONTEXT=256 EDGECHAT_SPINNING=false /usr/bin/python3 -P -m edgechat --self-test
}
failed=0
for processor; do
  test_on "$processor" || { echo "$processor: WRONG" >&2; failed=1; }
done
sed -i 's/^_ARM = .*/_ARM: frozenset[str] = frozenset()/' "$root/source/edgechat/engine/session_options.py"
for processor; do
  [ "$processor" != cortex-a72 ] || continue # KleidiAI has nothing for it
  if found=$(test_on "$processor"); then code=0; else code=$?; fi
  echo "$processor, with KleidiAI: exit code $code, $found"
  case $code:$found in
    0:*) echo "$processor: KleidiAI's wrong numbers were not seen" >&2; failed=1 ;;
    *'"step": "numbers"'*) ;;
    *) echo "$processor: failed at something else" >&2; failed=1 ;;
  esac
done
exit "$failed"
