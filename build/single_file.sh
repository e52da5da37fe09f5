#!/bin/sh
# edgechat @VERSION@, one file for @SYSTEM@ @MACHINE@. Behind this script lies a packed folder, the model in it included.
# The first start unpacks it, verified, to the cache of the user; from then on it is started from there.
#   EDGECHAT_UNPACK=DIR   unpack below DIR instead, to a folder there that is this user's alone
# Nothing here may need more than a POSIX shell, tail, tar, gzip and one program that computes SHA-256.
set -u
mask=$(umask)
umask 077

offset=@OFFSET@ size=@SIZE@ sha256=@SHA256@ files=@FILES@ kilobytes=@KILOBYTES@ program=@PROGRAM@ bytes=@BYTES@
user=$(id -u)
# The group of this user alone, as most systems make one, may write too.
own_group=-; [ "$(id -gn 2>/dev/null)" = "$(id -un 2>/dev/null)" ] && own_group=$(id -g)
# In a container of a user's own the system's files belong to nobody it knows.
unknown=-; { read -r _ _ ids </proc/self/uid_map && [ "$ids" -lt 4294967295 ] && unknown=65534; } 2>/dev/null
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

whole() { # every file that was unpacked is there and not empty, as it may be after a power cut
  [ -f "$1/.whole" ] && [ "$(wc -c 2>/dev/null <"$1/$program")" -eq "$bytes" ] 2>/dev/null &&
    [ "$(find "$1" -type f -size +0c | wc -l)" -ge "$files" ]
}

absolute() { # a folder as a variable gives it
  case $1 in
    /*) printf '%s\n' "$1" ;;
    "~" | "~/"*) printf '%s\n' "${HOME:-/nonexistent}${1#"~"}" ;;
    *) printf '%s\n' "$PWD/$1" ;;
  esac
}

for given in "${EDGECHAT_UNPACK:-}" "${EDGECHAT_HOME:-}"; do
  case $given in "~" | "~/"*) ;; "~"*) fail 2 "Setting not usable" "$given: write the whole path." ;; esac
done

# The folders to unpack below, best first.
places() {
  if [ -n "${EDGECHAT_UNPACK:-}" ]; then
    printf '%s\n' "$(absolute "$EDGECHAT_UNPACK")/edgechat-$user/cache/unpacked"
    return
  fi
  [ -n "${EDGECHAT_HOME:-}" ] && printf '%s\n' "$(absolute "$EDGECHAT_HOME")/cache/unpacked"
  if [ @SYSTEM@ = Darwin ]; then
    [ -d "${HOME:-}" ] && printf '%s\n' "$HOME/Library/Caches/edgechat/unpacked"
  else
    [ -n "${XDG_CACHE_HOME:-}" ] && printf '%s\n' "$XDG_CACHE_HOME/edgechat/unpacked"
    [ -d "${HOME:-}" ] && printf '%s\n' "$HOME/.cache/edgechat/unpacked"
  fi
  for temporary in "${TMPDIR:-/tmp}" /var/tmp; do # where POSIX and Linux have temporary files; there may be no home
    printf '%s\n' "$temporary/edgechat-$user/cache/unpacked"
  done
}

own() { # a folder of this user's, in which nobody else can put anything
  [ ! -L "$1" ] && ls -ldn -- "$1" 2>/dev/null | {
    IFS=' ' read -r rights _ owner _
    case $rights in d????-??-*) [ "$owner" = "$user" ] ;; *) false ;; esac
  }
}

other() { # whether somebody else can change what lies in a folder, or has it: neither this user nor the system
  ls -ldn -- "$1" 2>/dev/null | {
    IFS=' ' read -r rights _ owner group _ || exit 0
    [ "$owner" = 0 ] || [ "$owner" = "$user" ] || [ "$owner" = "$unknown" ] || exit 0
    case $rights in
      l* | *[tT] | *[tT][.+@]) exit 1 ;; # only who has put a name there can take it away
      d????-??-*) exit 1 ;;
      d????w??-*) if [ "$group" = 0 ] || [ "$group" = "$own_group" ]; then exit 1; fi ;;
    esac
    exit 0
  }
}

trusted() ( # nobody else can put another folder in the place of this one: each step on the way is looked at
  steps=0 at='' rest=$1/
  if other /; then exit 1; fi
  while [ -n "$rest" ]; do
    part=${rest%%/*} rest=${rest#*/}
    case $part in
      "" | .) continue ;;
      ..) at=${at%/*} && continue ;;
    esac
    if other "$at/$part"; then exit 1; fi
    if [ -L "$at/$part" ]; then
      steps=$((steps + 1))
      [ "$steps" -lt 40 ] || exit 1
      to=$(readlink -- "$at/$part") || exit 1
      case $to in /*) rest=$to/$rest at='' ;; *) rest=$to/$rest ;; esac
    else
      at=$at/$part
    fi
  done
)

mine() { # what lies there is started: it must not be somebody else's
  case $1 in */edgechat-"$user"/cache/unpacked) own "${1%/cache/unpacked}" || return 1 ;; esac
  own "$1" && trusted "$1"
}

usable() { # can be written to, and programs in it can be started
  case $1 in
    */edgechat-"$user"/cache/unpacked)
      top=${1%/cache/unpacked}
      mkdir -p -- "${top%/*}" 2>/dev/null
      mkdir -m 700 -- "$top" 2>/dev/null
      own "$top" || return 1
      ;;
  esac
  mkdir -p -- "$1" 2>/dev/null && mine "$1" || return 1
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
}

check_file() {
  has=$(($(wc -c <"$self") - offset))
  [ "$has" -eq "$size" ] ||
    fail 5 "This file is not whole" "$self holds $has bytes behind its head in place of $size. Copy it again from where it came."
  found=$(tail -c +$((offset + 1)) -- "$self" | digest)
  [ "$found" = none ] || [ "$found" = "$sha256" ] ||
    fail 5 "This file is damaged" "$self is not what was built: SHA-256 $found. Copy it again from where it came."
}

# One start unpacks, others wait for it. That only spares them the work: whoever waits in vain unpacks for himself.
wait_for_another() {
  waited=0
  until mkdir -- "$lock" 2>/dev/null; do
    whole "$folder" && return
    owner=$(cat -- "$lock/owner" 2>/dev/null)
    case $owner in
      "") [ "$waited" -lt 2 ] || return ;; # its maker was killed before it could tell
      "$host "*) kill -0 "${owner#* }" 2>/dev/null || return ;;
    esac
    [ "$waited" -lt 60 ] || return
    [ "$waited" -gt 0 ] || say "another edgechat is unpacking; waiting for it"
    waited=$((waited + 1))
    sleep 1
  done
  { printf '%s\n' "$host $$" >"$lock/owner"; } 2>/dev/null
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
    fail 5 "There is no place to unpack to" "None of these can be written to and started from, with every folder above in the hands of this user or the system:
$(places | sed 's/^/    /')
  Set EDGECHAT_UNPACK to a folder of your own, or to /var/tmp, on a disk that is not mounted read-only or noexec."
  fi
  # Numbers of processes mean something on one system alone, and there in one container.
  space=$(readlink /proc/self/ns/pid 2>/dev/null)
  space=${space#*[}
  host=$(uname -n).${space%]}
  lock=$place/.lock-$name
  half=$place/.half-$name-$host-$$
  folder=$place/$name
  trap 'rm -rf -- "$half" "$lock"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  wait_for_another
  whole "$folder" && return
  say "unpacking once, to $place"
  # This place is nobody else's, and only edgechat's own names go: what a start that was killed has left, and what
  # nobody has used for a month.
  for left in "$place/.half-edgechat-"*"-$host-"*; do
    kill -0 "${left##*-}" 2>/dev/null || rm -rf -- "$left"
  done
  find "$place" -mindepth 1 -maxdepth 1 -type d -name '.half-edgechat-*' -mmin +60 -exec rm -rf -- {} + 2>/dev/null
  find "$place" -mindepth 1 -maxdepth 1 -type d -name 'edgechat-*-????????????' -mtime +30 -exec rm -rf -- {} + 2>/dev/null
  mkdir -- "$half" || fail 5 "Cannot unpack" "$place cannot be written to."
  problem=$({ tail -c +$((offset + 1)) -- "$self" | gzip -dc | (cd -- "$half" && tar -xf -); } 2>&1) ||
    fail 5 "Cannot unpack" "$(printf %s "$problem" | head -n 1). $place has $(($(kilobytes_free "$place") / 1024)) MB free, $((kilobytes / 1024)) are needed.
  Free some, or set EDGECHAT_UNPACK to a folder on another disk."
  sync # a power cut must not leave a name with nothing behind it
  { : >"$half/.whole"; } 2>/dev/null
  whole "$half" || fail 5 "Cannot unpack" "Some files are missing in $half: the disk may be full. EDGECHAT_UNPACK=DIR unpacks to another."
  if [ -e "$folder" ] && ! whole "$folder"; then # a cleaner has nibbled at it
    mv -- "$folder" "$half.old" 2>/dev/null
    rm -rf -- "$half.old"
  fi
  [ -e "$folder" ] || mv -- "$half" "$folder" || fail 5 "Cannot unpack" "$folder cannot be made."
  rm -rf -- "${folder:?}/${half##*/}" # where another start was faster by a hair, this one went into it
}

if ! find_unpacked; then
  unpack
  trap - EXIT INT TERM HUP
  rm -rf -- "$half" "$lock"
fi
touch -c -- "$folder" 2>/dev/null # used today
EDGECHAT_BINARY=$self
export EDGECHAT_BINARY
umask "$mask"
exec "$folder/edgechat" "$@"
