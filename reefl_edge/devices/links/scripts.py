"""What does a shell on a device do for a link?

Scripts for any POSIX shell: Android's (mksh, with toybox) and Debian's (dash) among them. What they
need beside it is on both: cat, df, flock, mkdir, mv, rm, setsid, sha256sum, sync, tar.
"""

# Hold the device until standard input ends, and say where its root is. Arguments: the root, an
# absolute path, or empty for a folder in the user's cache; who we are. The lock is the system's: it
# goes with the process that holds it. Nobody else is at work then, so what lies aside was left by a
# session that was cut.
HELD = "held"
IS_HELD = 75
HOLD = f"""
root=${{1:-${{XDG_CACHE_HOME:-$HOME/.cache}}/reefl-edge}}
umask 077
mkdir -p "$root" && cd "$root" && mkdir -p files agents partial runs || exit
{{
  flock -n 9 || {{ cat owner; exit {IS_HELD}; }}
  printf '%s (process %s there)' "$2" "$$" >owner
  rm -rf partial/* runs/*
  printf '{HELD} %s\\n' "$(pwd -P)"
  cat >/dev/null
}} 9>>lock
"""

# What is kept in the root beside the lock.
KEPT = ("files", "agents", "partial", "runs", "owner")

# Ask Pythons something; those that are not there, or do not know, say nothing. Arguments: the
# question, names of programs. Another program may be named there, as for the agent's start.
ASK_PYTHONS = """
question=$1
shift
for python in ${REEFL_EDGE_PYTHON:-$*}; do
  "$python" -I -S -c "$question" 2>/dev/null
done
true
"""

# Tell whether something lies at a place; if not, make a folder to send it to, and print the room.
# Arguments: place, folder aside.
FIND = """
[ -e "$1" ] && exit
umask 077
mkdir "$2" && { df -Pk "$2" || echo unknown; }
"""

# Receive standard input at a path.
RECEIVE_FILE = 'cat >"$1"'
RECEIVE_FOLDER = 'mkdir "$1" && cd "$1" && tar -xf -'

# Check what was sent by the hashes on standard input, let it reach the disk, and put it in its
# place. Arguments: folder aside, place.
SETTLE = """
cd "$1" && cat >sums && sha256sum -c sums >/dev/null || exit
find content -type f -exec sync {} + && mv content "$2" && rm -rf "$1"
"""

# The same for an archive that is to be unpacked in its place.
SETTLE_ARCHIVE = """
cd "$1" && cat >sums && sha256sum -c sums >/dev/null || exit
mkdir unpacked && (cd unpacked && tar -xzf ../content) || exit
find unpacked -type f -exec sync {} + && mv unpacked "$2" && rm -rf "$1"
"""

# Print the hash of a file, then the file.
FETCH = """
sha256sum <"$1" && cat "$1"
"""

# Make a folder to run a process in, and put its standard input there.
PREPARE = """
umask 077
mkdir "$1" && cat >"$1/stdin"
"""

# Run a process in such a folder, as the head of a process group of its own. It ends when it does,
# or when standard input does: with us, or with the link. What it started and left ends with it.
# Arguments: folder, program and its arguments.
RUN = """
trap '' HUP
run=$1
shift
cd "$run" || exit
exec 3<&0
setsid "$@" <stdin 3<&- &
child=$!
setsid sh -c 'cat; kill -KILL "$1" "-$1"' sh "$child" <&3 3<&- >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"
code=$?
kill -KILL "$watch" "-$watch" "-$child" 2>/dev/null
cd / && rm -rf "$run"
exit "$code"
"""

MAKE_FOLDER = 'umask 077; mkdir "$1"'
REMOVE = 'rm -rf "$@"'

# Print files and what commands say, each after a line with its name; what cannot be read is left
# out. Arguments: a mark that begins such lines; how many commands; commands; patterns of paths.
TELL = """
mark=$1
left=$2
shift 2
while [ "$left" -gt 0 ]; do
  echo "$mark$1"
  $1
  shift
  left=$((left - 1))
done 2>/dev/null
for path in $*; do
  if [ -r "$path" ] && [ -f "$path" ]; then
    echo "$mark$path"
    cat "$path"
    echo
  fi
done 2>/dev/null
true
"""
