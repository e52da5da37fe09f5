#!/bin/sh
# edgechat @VERSION@, one file for @SYSTEM@ @MACHINE@. Behind this script lies a packed folder, the model in it included.
# The first start unpacks it, verified, to the cache of the user; from then on it is started from there.
#   EDGECHAT_UNPACK=DIR   unpack below DIR instead
# Nothing here may need more than a POSIX shell, tail, tar, gzip and one program that computes SHA-256.
set -u
mask=$(umask)
umask 077

offset=@OFFSET@ size=@SIZE@ sha256=@SHA256@ files=@FILES@ kilobytes=@KILOBYTES@ glibc=@GLIBC@
user=$(id -u)
name=edgechat-@VERSION@-$(printf %.12s "$sha256")

# Messages go to the terminal, or to a dialog for whoever has double-clicked.
fail() {
  code=$1 text="edgechat: $2
  $3"
  printf '%s\n' "$text" >&2
  if [ ! -t 0 ] && [ ! -t 2 ] && [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    if command -v zenity >/dev/null 2>&1; then zenity --error --no-markup --text "$text"
    elif command -v kdialog >/dev/null 2>&1; then kdialog --error "$text"
    elif command -v xmessage >/dev/null 2>&1; then xmessage -center "$text"
    fi >/dev/null 2>&1 </dev/null
  fi
  exit "$code"
}

# Where this file lies: what a device's owner puts beside it (edgechat.toml, model/) is looked for there.
case $0 in
  */*) self=$0 ;;
  *) self=$(command -v -- "$0") || self=$0 ;;
esac
if real=$(readlink -f -- "$self" 2>/dev/null) && [ -n "$real" ]; then
  self=$real
else
  self=$(cd -- "$(dirname -- "$self")" && pwd)/$(basename -- "$self")
fi
[ -r "$self" ] || fail 5 "This file cannot be read" "$self: start it by its path."

digest() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum
  elif command -v shasum >/dev/null 2>&1; then shasum -a 256
  elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r
  else echo none; fi | cut -d' ' -f1
}

whole() { # every file that was unpacked is still there
  [ -f "$1/.whole" ] && [ "$(find "$1" -type f | wc -l)" -gt "$files" ]
}

# The folders to unpack below, best first. The temporary one is only taken if it is this user's alone.
places() {
  if [ -n "${EDGECHAT_UNPACK:-}" ]; then
    printf '%s\n' "$EDGECHAT_UNPACK"
    return
  fi
  case ${EDGECHAT_HOME:-} in
    "") ;;
    "~/"*) printf '%s\n' "${HOME:-}/${EDGECHAT_HOME#"~/"}/cache/unpacked" ;;
    *) printf '%s\n' "$EDGECHAT_HOME/cache/unpacked" ;;
  esac
  if [ @SYSTEM@ = Darwin ]; then
    [ -d "${HOME:-}" ] && printf '%s\n' "$HOME/Library/Caches/edgechat/unpacked"
  else
    [ -n "${XDG_CACHE_HOME:-}" ] && printf '%s\n' "$XDG_CACHE_HOME/edgechat/unpacked"
    [ -d "${HOME:-}" ] && printf '%s\n' "$HOME/.cache/edgechat/unpacked"
  fi
  printf '%s\n' "${TMPDIR:-/tmp}/edgechat-$user/cache/unpacked" "/var/tmp/edgechat-$user/cache/unpacked"
}

mine() { # a folder in a place where everyone can write has to be this user's, and nobody else's
  case $1 in
    */edgechat-"$user"/cache/unpacked)
      top=${1%/cache/unpacked}
      [ ! -L "$top" ] && ls -ldn -- "$top" 2>/dev/null | {
        IFS=' ' read -r rights _ owner _
        case $rights in d???------*) [ "$owner" = "$user" ] ;; *) false ;; esac
      }
      ;;
  esac
}

usable() { # can be written to, and programs in it can be started
  case $1 in */edgechat-"$user"/cache/unpacked) mkdir -m 700 -- "${1%/cache/unpacked}" 2>/dev/null ;; esac
  mine "$1" && mkdir -p -- "$1" 2>/dev/null || return 1
  probe=$1/.probe-$$
  { printf '#!/bin/sh\nexit 0\n' >"$probe"; } 2>/dev/null && chmod 700 "$probe" && "$probe" 2>/dev/null
  found=$?
  rm -f -- "$probe"
  return $found
}

kilobytes_free() {
  df -Pk -- "$1" 2>/dev/null | { read -r _; IFS=' ' read -r _ _ _ free _; printf '%s' "$free"; }
}

find_unpacked() {
  OLD=$IFS IFS='
'
  set -f
  for place in $(places); do
    if mine "$place" && whole "$place/$name" && [ -x "$place/$name/edgechat" ]; then
      folder=$place/$name
      set +f
      IFS=$OLD
      return 0
    fi
  done
  set +f
  IFS=$OLD
  return 1
}

check_machine() {
  [ "$(uname -s)" = @SYSTEM@ ] && [ "$(uname -m)" = @MACHINE@ ] ||
    fail 1 "This edgechat is for another machine" "It is for @SYSTEM@ @MACHINE@; this is $(uname -s) $(uname -m). Get the file for it."
  if [ -n "$glibc" ] && has=$(getconf GNU_LIBC_VERSION 2>/dev/null); then
    has=${has#glibc }
    if [ "${has%%.*}" -lt "${glibc%%.*}" ] || { [ "${has%%.*}" -eq "${glibc%%.*}" ] && [ "${has#*.}" -lt "${glibc#*.}" ]; }; then
      fail 1 "This system is too old for this edgechat" "It needs glibc $glibc, and this system has $has."
    fi
  fi
}

check_file() {
  has=$(($(wc -c <"$self") - offset))
  [ "$has" -eq "$size" ] ||
    fail 5 "This file is not whole" "$self holds $has bytes behind its head in place of $size. Copy it again from where it came."
  found=$(tail -c +$((offset + 1)) -- "$self" | digest)
  [ "$found" = none ] || [ "$found" = "$sha256" ] ||
    fail 5 "This file is damaged" "$self is not what was built: SHA-256 $found. Copy it again from where it came."
}

# One start unpacks, others wait for it. The lock is a folder, which only one can make; it tells who made it.
lock() {
  told=
  while ! mkdir -- "$1" 2>/dev/null; do
    [ -d "$1" ] || return 1
    owner=$(cat -- "$1/pid" 2>/dev/null)
    if { [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; } || [ -n "$(find "$1" -maxdepth 0 -mmin +10)" ]; then
      rm -rf -- "$1" # its maker was killed; nothing takes ten minutes
      continue
    fi
    [ -n "$told" ] || { told=1; say "another edgechat is unpacking; waiting for it"; }
    sleep 1
  done
  echo $$ >"$1/pid"
}

say() { if [ -t 2 ]; then printf 'edgechat: %s\n' "$1" >&2; fi; }

unpack() {
  check_machine
  check_file
  room=
  OLD=$IFS IFS='
'
  set -f
  place=
  for candidate in $(places); do
    if usable "$candidate"; then
      free=$(kilobytes_free "$candidate")
      if [ -n "$free" ] && [ "$free" -lt "$kilobytes" ]; then
        room="$room
  $candidate has $((free / 1024)) MB free."
        continue
      fi
      place=$candidate
      break
    fi
  done
  set +f
  IFS=$OLD
  if [ -z "$place" ]; then
    [ -z "$room" ] || fail 5 "Not enough space to unpack" "$((kilobytes / 1024)) MB are needed:$room
  Free some, or set EDGECHAT_UNPACK to a folder on another disk."
    fail 5 "There is no place to unpack to" "None of these can be written to and started from:
$(places | sed 's/^/    /')
  Set EDGECHAT_UNPACK to a folder on a disk that is not mounted read-only or noexec."
  fi
  lock "$place/.lock-$name" || fail 5 "Cannot unpack" "$place cannot be written to."
  half=$place/.half-$name-$$
  trap 'rm -rf -- "$half" "$place/.lock-$name"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  folder=$place/$name
  whole "$folder" && return # by another start, meanwhile
  say "unpacking once, to $place"
  # What a start that was killed has left, what a cleaner has nibbled at, and what nobody has used for a month.
  rm -rf -- "$place/.half-$name"-* "$folder"
  find "$place" -mindepth 1 -maxdepth 1 -type d -name 'edgechat-*' -mtime +30 -exec rm -rf -- {} + 2>/dev/null
  mkdir -- "$half" || fail 5 "Cannot unpack" "$place cannot be written to."
  problem=$({ tail -c +$((offset + 1)) -- "$self" | gzip -dc | (cd -- "$half" && tar -xf -); } 2>&1) ||
    fail 5 "Cannot unpack" "$(printf %s "$problem" | head -n 1). $place has $(($(kilobytes_free "$place") / 1024)) MB free, $((kilobytes / 1024)) are needed.
  Free some, or set EDGECHAT_UNPACK to a folder on another disk."
  { : >"$half/.whole"; } 2>/dev/null
  whole "$half" || fail 5 "Cannot unpack" "Some files are missing in $half: the disk may be full. EDGECHAT_UNPACK=DIR unpacks to another."
  mv -- "$half" "$folder" || fail 5 "Cannot unpack" "$folder cannot be made."
}

if ! find_unpacked; then
  unpack
  trap - EXIT INT TERM HUP
  rm -rf -- "$place/.lock-$name"
fi
touch -c -- "$folder" 2>/dev/null # used today
EDGECHAT_BINARY=$self
export EDGECHAT_BINARY
umask "$mask"
exec "$folder/edgechat" "$@"
